// Filters on single values: texts, numbers, conversions. Those on lists are in list_filters.cc.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "template/access.h"
#include "template/arithmetic.h"
#include "template/builtins.h"
#include "template/fault.h"
#include "template/format.h"
#include "template/json.h"
#include "template/list_filters.h"
#include "template/print.h"
#include "template/runtime.h"
#include "template/strings.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

void NoArguments(std::string_view filter, const Args& args) { BoundArgs(filter, args, {}); }

// --- texts ---

Value FilterUpper(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("upper", args);
  return runtime.NewText(Upper(*Str(runtime, subject)));
}

Value FilterLower(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("lower", args);
  return runtime.NewText(Lower(*Str(runtime, subject)));
}

Value FilterCapitalize(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("capitalize", args);
  return runtime.NewText(Capitalize(*Str(runtime, subject)));
}

Value FilterTitle(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("title", args);
  const auto ends_word = [](char32_t c) {
    return IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  return runtime.NewText(Title(runtime, *Str(runtime, subject), ends_word));
}

Value FilterTrim(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("trim", args, {"chars"});
  return runtime.NewText(Strip(runtime, *Str(runtime, subject), bound.String(0), Ends::kBoth));
}

Value FilterReplace(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("replace", args, {"old", "new", "count"});
  const TextPtr text = Str(runtime, subject);
  const TextPtr old = Str(runtime, bound.Get(0));
  const TextPtr replacement = Str(runtime, bound.Get(1));
  const Value* count = bound.Find(2);
  const std::int64_t limit = count == nullptr || IsNone(*count) ? -1 : bound.Integer(2, -1);
  return runtime.NewText(Replace(runtime, *text, *old, *replacement, limit));
}

// `width` blanks, or the text given instead of a number.
Text Indentation(const Value* width, std::int64_t otherwise) {
  if (width != nullptr && AsText(*width) != nullptr) return *AsText(*width);
  if (width != nullptr && !IsInteger(*width)) Fail("an indentation must be a number or a text");
  const std::int64_t blanks = width == nullptr ? otherwise : ToInteger(*width);
  Runtime::CheckTextSize(blanks);
  return Text(std::string(std::max<std::int64_t>(blanks, 0), ' '), Origin::kTemplate);
}

Value FilterIndent(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("indent", args, {"width", "first", "blank"});
  const Text indentation = Indentation(bound.Find(0), 4);
  if (AsText(subject) == nullptr) Fail("indent() needs a text, got {}", TypeName(subject));
  Text text = *AsText(subject);
  text.Append("\n", Origin::kTemplate);  // so that a final empty line counts
  const std::vector<Text> lines = SplitLines(runtime, text, /*keep_ends=*/false);
  Text result;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) result.Append("\n", Origin::kTemplate);
    const bool indents =
        i == 0 ? bound.Truth(1, false) : !lines[i].empty() || bound.Truth(2, false);
    if (indents) result.Append(indentation);
    result.Append(lines[i]);
    Runtime::CheckTextSize(result.size());
  }
  return runtime.NewText(std::move(result));
}

Value FilterFormat(Runtime& runtime, const Value& subject, const Args& args) {
  if (!args.named.empty()) Fail("format() takes no named arguments");
  return FormatPercent(runtime, *Str(runtime, subject), args.positional);
}

// --- conversions ---

Value FilterString(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("string", args);
  return Str(runtime, subject);
}

// Nothing is ever escaped here, so everything is safe.
Value FilterSafe(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("safe", args);
  return Str(runtime, subject);
}

Value FilterDefault(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("default", args, {"default_value", "boolean"});
  const bool missing = IsUndefined(subject) || (bound.Truth(1, false) && !Truthy(subject));
  if (!missing) return subject;
  return bound.Find(0) != nullptr ? *bound.Find(0) : runtime.NewText("", Origin::kTemplate);
}

template <typename Number, typename... Base>
bool Parse(const Text& text, Number& number, Base... base) {
  const std::string& bytes = text.bytes();
  std::int64_t begin = SkipSpace(bytes);
  const std::int64_t end = SkipSpaceBack(bytes);
  if (begin < end && bytes[begin] == '+' && begin + 1 < end && bytes[begin + 1] != '-') ++begin;
  if (begin >= end) return false;
  const char* last = bytes.data() + end;
  const std::from_chars_result result =
      std::from_chars(bytes.data() + begin, last, number, base...);
  return result.ec == std::errc() && result.ptr == last;
}

Value FilterInt(Runtime&, const Value& subject, const Args& args) {
  const BoundArgs bound("int", args, {"default", "base"});
  Value otherwise = bound.Find(0) != nullptr ? *bound.Find(0) : Value(std::int64_t{0});
  const std::int64_t base = bound.Integer(1, 10);
  if (base < 2 || base > 36) Fail("int() needs a base from 2 to 36, got {}", base);
  if (const Undefined* undefined = std::get_if<Undefined>(&subject)) Fail("{}", *undefined->what);
  if (IsInteger(subject)) return ToInteger(subject);
  double real = 0;
  if (const Text* text = AsText(subject)) {
    std::int64_t integer = 0;
    if (Parse(*text, integer, static_cast<int>(base))) return integer;
    if (!Parse(*text, real)) return otherwise;
  } else if (IsNumber(subject)) {
    real = ToDouble(subject);
  } else {
    return otherwise;
  }
  if (!std::isfinite(real)) return otherwise;
  if (!(std::abs(real) < 0x1p63)) Fail("an integer does not fit into 64 bits");
  return static_cast<std::int64_t>(real);
}

Value FilterFloat(Runtime&, const Value& subject, const Args& args) {
  const BoundArgs bound("float", args, {"default"});
  if (const Undefined* undefined = std::get_if<Undefined>(&subject)) Fail("{}", *undefined->what);
  if (IsNumber(subject)) return ToDouble(subject);
  double real = 0;
  if (AsText(subject) != nullptr && Parse(*AsText(subject), real)) return real;
  return bound.Find(0) != nullptr ? *bound.Find(0) : Value(0.0);
}

Value FilterToJson(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii_only = bound.Truth(0, false);
  style.sort_keys = bound.Truth(3, false);
  if (const Value* indent = bound.Find(1); indent != nullptr && !IsNone(*indent)) {
    style.indent = Indentation(indent, 0).bytes();
  }
  if (const Value* separators = bound.Find(2); separators != nullptr && !IsNone(*separators)) {
    const std::vector<Value> pair = Items(runtime, *separators);
    if (pair.size() != 2 || AsText(pair[0]) == nullptr || AsText(pair[1]) == nullptr) {
      Fail("tojson() needs two texts as separators");
    }
    style.item_separator = *AsText(pair[0]);
    style.key_separator = *AsText(pair[1]);
  }
  return runtime.NewText(ToJson(runtime, subject, std::move(style)));
}

Value FilterFromJson(Runtime& runtime, const Value& subject, const Args& args) {
  NoArguments("from_json", args);
  if (AsText(subject) == nullptr) Fail("from_json() needs a text, got {}", TypeName(subject));
  return ParseJson(runtime, *AsText(subject));
}

// --- numbers ---

Value FilterAbs(Runtime&, const Value& subject, const Args& args) {
  NoArguments("abs", args);
  if (!IsNumber(subject)) Fail("abs() needs a number, got {}", TypeName(subject));
  if (!IsInteger(subject)) return std::abs(ToDouble(subject));
  return ToInteger(subject) < 0 ? Negate(subject) : Value(ToInteger(subject));
}

// Rounds the decimal digits of the value itself, as Python does, and not a scaled value.
double RoundDecimal(double value, std::int64_t digits) {
  if (!std::isfinite(value)) return value;
  const std::string text = fmt::format("{:.{}f}", value, digits);
  double rounded = 0;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

Value FilterRound(Runtime&, const Value& subject, const Args& args) {
  const BoundArgs bound("round", args, {"precision", "method"});
  if (!IsNumber(subject)) Fail("round() needs a number, got {}", TypeName(subject));
  const std::int64_t digits = bound.Integer(0, 0);
  if (digits < 0 || digits > 100) Fail("round() needs a precision from 0 to 100, got {}", digits);
  const Text* method = bound.String(1);
  if (method == nullptr || method->bytes() == "common") {
    if (IsInteger(subject)) return ToInteger(subject);
    return RoundDecimal(ToDouble(subject), digits);
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  if (method->bytes() == "ceil") return std::ceil(ToDouble(subject) * scale) / scale;
  if (method->bytes() == "floor") return std::floor(ToDouble(subject) * scale) / scale;
  Fail("round() knows the methods common, ceil and floor");
}

constexpr auto kFilters = std::to_array<Function>({
    {"abs", FilterAbs},
    {"capitalize", FilterCapitalize},
    {"count", FilterLength},
    {"d", FilterDefault},
    {"default", FilterDefault},
    {"dictsort", FilterDictSort},
    {"first", FilterFirst},
    {"float", FilterFloat},
    {"format", FilterFormat},
    {"from_json", FilterFromJson},
    {"indent", FilterIndent},
    {"int", FilterInt},
    {"items", FilterItems},
    {"join", FilterJoin},
    {"last", FilterLast},
    {"length", FilterLength},
    {"list", FilterList},
    {"lower", FilterLower},
    {"map", FilterMap},
    {"max", FilterMax},
    {"min", FilterMin},
    {"reject", FilterReject},
    {"rejectattr", FilterRejectAttr},
    {"replace", FilterReplace},
    {"reverse", FilterReverse},
    {"round", FilterRound},
    {"safe", FilterSafe},
    {"select", FilterSelect},
    {"selectattr", FilterSelectAttr},
    {"sort", FilterSort},
    {"string", FilterString},
    {"sum", FilterSum},
    {"title", FilterTitle},
    {"tojson", FilterToJson},
    {"trim", FilterTrim},
    {"unique", FilterUnique},
    {"upper", FilterUpper},
});

}  // namespace

const Function* FindFilter(std::string_view name) {
  const auto found = std::find_if(kFilters.begin(), kFilters.end(),
                                  [&](const Function& filter) { return filter.name == name; });
  return found == kFilters.end() ? nullptr : &*found;
}

}  // namespace foveate::jinja
