#include "template/print.h"

#include <charconv>
#include <cmath>

#include "template/fault.h"
#include "template/runtime.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

constexpr Origin kPunctuation = Origin::kData;

// Appends what escape(start, piece) writes to `piece` for each character of `text`, with its
// origin.
template <typename Escape>
void AppendEscaped(const Text& text, Text& out, Escape escape) {
  std::int64_t begin = 0;
  std::string piece;
  for (const Text::Run& run : text.runs()) {
    piece.clear();
    while (begin < run.end) {
      escape(begin, piece);
      begin += CharLength(text.bytes(), begin);
    }
    out.Append(piece, run.origin);
  }
}

void AppendReprEscape(char32_t c, std::string& out) {
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\r') {
    out += "\\r";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c < 0x100) {
    out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
  } else if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  } else {
    out += fmt::format("\\U{:08x}", static_cast<unsigned>(c));
  }
}

void AppendTextRepr(const Text& text, Text& out) {
  const std::string& bytes = text.bytes();
  const bool has_single = bytes.find('\'') != std::string::npos;
  const char quote = has_single && bytes.find('"') == std::string::npos ? '"' : '\'';
  const std::vector<std::int64_t> unprintable = FindUnprintable(bytes);
  auto next = unprintable.begin();
  out.Append({&quote, 1}, kPunctuation);
  AppendEscaped(text, out, [&](std::int64_t at, std::string& piece) {
    if (next != unprintable.end() && *next == at) {
      AppendReprEscape(CharAt(bytes, at), piece);
      ++next;
      return;
    }
    if (bytes[at] == quote || bytes[at] == '\\') piece += '\\';
    piece.append(bytes, at, CharLength(bytes, at));
  });
  out.Append({&quote, 1}, kPunctuation);
}

std::string ScalarText(const Value& value) {
  if (const bool* truth = std::get_if<bool>(&value)) return *truth ? "True" : "False";
  if (IsInteger(value)) return fmt::format("{}", ToInteger(value));
  if (const double* real = std::get_if<double>(&value)) return FormatFloat(*real);
  if (IsNone(value)) return "None";
  if (IsUndefined(value)) return "";
  return fmt::format("<{}>", TypeName(value));
}

void AppendListRepr(Runtime& runtime, const List& list, Text& out) {
  out.Append(list.is_tuple ? "(" : "[", kPunctuation);
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.Append(", ", kPunctuation);
    AppendRepr(runtime, list.items[i], out);
  }
  if (list.is_tuple && list.items.size() == 1) out.Append(",", kPunctuation);
  out.Append(list.is_tuple ? ")" : "]", kPunctuation);
}

void AppendDictRepr(Runtime& runtime, const Dict& dict, Text& out) {
  out.Append("{", kPunctuation);
  bool first = true;
  for (const auto& [key, value] : dict.items) {
    if (!first) out.Append(", ", kPunctuation);
    first = false;
    AppendRepr(runtime, key, out);
    out.Append(": ", kPunctuation);
    AppendRepr(runtime, value, out);
  }
  out.Append("}", kPunctuation);
}

}  // namespace

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  // Scientific digits first: Python's choice between the two notations depends on the exponent.
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view digits(buffer, end.ptr - buffer);
  int exponent = 0;
  const char* exponent_at = buffer + digits.find('e') + 1;
  std::from_chars(exponent_at + (*exponent_at == '+'), end.ptr, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(digits);
  char fixed[64];
  end = std::to_chars(fixed, fixed + sizeof fixed, value, std::chars_format::fixed);
  std::string text(fixed, end.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

void AppendRepr(Runtime& runtime, const Value& value, Text& out) {
  runtime.Charge(1);
  Runtime::CheckTextSize(out.size());
  if (const Text* text = AsText(value)) {
    runtime.ChargeBytes(text->size());
    return AppendTextRepr(*text, out);
  }
  if (List* const* list = std::get_if<List*>(&value)) {
    const Nesting nesting(runtime);
    return AppendListRepr(runtime, **list, out);
  }
  if (Dict* const* dict = std::get_if<Dict*>(&value)) {
    const Nesting nesting(runtime);
    return AppendDictRepr(runtime, **dict, out);
  }
  if (IsUndefined(value)) return out.Append("Undefined", kPunctuation);
  out.Append(ScalarText(value), kPunctuation);
}

void AppendStr(Runtime& runtime, const Value& value, Text& out) {
  if (const Text* text = AsText(value)) {
    runtime.ChargeBytes(text->MemoryBytes());
    out.Append(*text);
  } else if (std::holds_alternative<List*>(value) || std::holds_alternative<Dict*>(value)) {
    AppendRepr(runtime, value, out);
  } else {
    out.Append(ScalarText(value), Origin::kTemplate);
  }
  Runtime::CheckTextSize(out.size());
}

TextPtr Str(Runtime& runtime, const Value& value) {
  if (const TextPtr* text = std::get_if<TextPtr>(&value)) return *text;
  Text text;
  AppendStr(runtime, value, text);
  return std::get<TextPtr>(runtime.NewText(std::move(text)));
}

}  // namespace foveate::jinja
