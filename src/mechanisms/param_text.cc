// Values of parameters as text: 64, 0.5, 1, cache, 0/3/9, 30x48x80, 0x0/1x2, a/file.safetensors.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/throw.h"
#include "format/printable.h"
#include "mechanisms/mechanism.h"

namespace foveate {
namespace {

// What takes specs, and lists of them, apart.
constexpr std::string_view kSeparators = ",;&|()[]{}=\"";

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<bool> ParseBool(std::string_view text) {
  if (text == "1" || text == "true") return true;
  if (text == "0" || text == "false") return false;
  return std::nullopt;
}

std::optional<std::int64_t> IndexOf(const std::vector<std::string_view>& words,
                                    std::string_view text) {
  const auto found = std::find(words.begin(), words.end(), text);
  if (found == words.end()) return std::nullopt;
  return found - words.begin();
}

// What lies before the next separator; `text` goes on behind it.
std::string_view TakeUntil(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

// Whether the last members of tuples have names.
bool NamesLast(const Param& param) {
  return param.type == ParamType::kTuples && !param.words.empty();
}

bool AppendTuple(const Param& param, std::string_view text, IntegerList& list) {
  if (param.arity > 1 && std::count(text.begin(), text.end(), 'x') < param.arity - 1) return false;
  for (int member = 0; member < param.arity; ++member) {
    const bool last = member == param.arity - 1;
    // A word may itself have an x in it.
    const std::string_view part = last ? text : TakeUntil(text, 'x');
    std::optional<std::int64_t> number = ParseNumber<std::int64_t>(part);
    if (last && !number && NamesLast(param)) number = IndexOf(param.words, part);
    if (!number) return false;
    list.push_back(*number);
  }
  return true;
}

std::optional<IntegerList> ParseList(const Param& param, std::string_view text) {
  IntegerList list;
  if (text.empty() || text.back() == '/') return std::nullopt;
  while (!text.empty()) {
    if (!AppendTuple(param, TakeUntil(text, '/'), list)) return std::nullopt;
  }
  return list;
}

// Where only 0 and 1 are legal, words stand for them too.
std::optional<IntegerList> ParseAxes(const Param& param, std::string_view text) {
  IntegerList list;
  if (text.empty() || text.back() == 'x') return std::nullopt;
  while (!text.empty()) {
    const std::string_view part = TakeUntil(text, 'x');
    std::optional<std::int64_t> number = ParseNumber<std::int64_t>(part);
    if (!number && param.most == 1) number = ParseBool(part);
    if (!number) return std::nullopt;
    list.push_back(*number);
  }
  return list;
}

template <typename T>
ParamValue OrNothing(std::optional<T> value) {
  return value ? ParamValue(*std::move(value)) : ParamValue();
}

// Nothing if the text is no value of this type.
ParamValue Parse(const Param& param, std::string_view text) {
  switch (param.type) {
    case ParamType::kInteger: return OrNothing(ParseNumber<std::int64_t>(text));
    case ParamType::kReal: return OrNothing(ParseNumber<double>(text));
    case ParamType::kBool: return OrNothing(ParseBool(text));
    case ParamType::kWord:
      return IndexOf(param.words, text) ? ParamValue(std::string(text)) : ParamValue();
    case ParamType::kAxes: return OrNothing(ParseAxes(param, text));
    case ParamType::kList:
      if (IndexOf(param.words, text)) return std::string(text);
      return OrNothing(ParseList(param, text));
    case ParamType::kTuples: return OrNothing(ParseList(param, text));
    case ParamType::kFile: return IsPath(text) ? ParamValue(std::string(text)) : ParamValue();
  }
  return {};
}

// "from 0 to 9", or what is left of it where the end means nothing but that there is one.
std::string RangeText(const Param& param) {
  if (param.most == kMostCount) return fmt::format(">= {} (and below 2^31)", param.least);
  return fmt::format("from {} to {}", param.least, param.most);
}

}  // namespace

std::string Expected(const Param& param) {
  switch (param.type) {
    case ParamType::kInteger: return "an integer " + RangeText(param);
    case ParamType::kReal: return "a number " + RangeText(param);
    case ParamType::kBool: return "0 or 1";
    case ParamType::kWord: return fmt::format("{}", fmt::join(param.words, " or "));
    case ParamType::kList: {
      std::string list = fmt::format("integers {} joined by /", RangeText(param));
      if (param.words.empty()) return list;
      return fmt::format("{} or {}", fmt::join(param.words, ", "), list);
    }
    case ParamType::kAxes:
      return fmt::format("integers {}, one for each axis joined by x, or one for all",
                         RangeText(param));
    case ParamType::kFile:
      return fmt::format("a path without {} or spaces at its ends", fmt::join(kSeparators, " "));
    case ParamType::kTuples: break;
  }
  std::string form = "tuples of " + std::to_string(param.arity) + " integers " + RangeText(param);
  if (!param.words.empty()) form += fmt::format(" (the last {})", fmt::join(param.words, " or "));
  return form + " joined by x, the tuples joined by /";
}

bool IsPath(std::string_view text) {
  const auto separates = [](char c) {
    const bool control = static_cast<unsigned char>(c) < ' ';
    return control || kSeparators.find(c) != std::string_view::npos;
  };
  return !text.empty() && text != "none" && text.front() != ' ' && text.back() != ' ' &&
         std::none_of(text.begin(), text.end(), separates);
}

bool InRange(const Param& param, const ParamValue& value) {
  const auto legal = [&](double number) { return param.least <= number && number <= param.most; };
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return legal(static_cast<double>(*integer));
  }
  if (const auto* real = std::get_if<double>(&value)) return legal(*real);
  const auto* list = std::get_if<IntegerList>(&value);
  if (list == nullptr) return true;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const bool word = NamesLast(param) && (i + 1) % param.arity == 0;
    const auto number = (*list)[i];
    if (word ? number < 0 || number >= std::ssize(param.words)
             : !legal(static_cast<double>(number))) {
      return false;
    }
  }
  return true;
}

void RefuseParam(const Mechanism& mechanism, const Param& param, std::string_view shown) {
  Throw(ErrorCode::kInvalidArgument, "{}: {}={}: expected {}", mechanism.name, param.key,
        Printable(shown), Expected(param));
}

ParamValue ParamFromText(const Mechanism& mechanism, const Param& param, std::string_view text) {
  if (text == "none") return {};
  ParamValue value = Parse(param, text);
  if (std::holds_alternative<std::monostate>(value) || !InRange(param, value)) {
    RefuseParam(mechanism, param, text);
  }
  return value;
}

std::string ParamToText(const Param& param, const ParamValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "1" : "0";
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  const auto* list = std::get_if<IntegerList>(&value);
  if (list == nullptr) return "none";
  if (param.type == ParamType::kAxes) return fmt::format("{}", fmt::join(*list, "x"));
  std::string text;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const bool first = i % param.arity == 0, last = (i + 1) % param.arity == 0;
    if (i > 0) text += first ? '/' : 'x';
    if (last && NamesLast(param)) {
      text += param.words[(*list)[i]];
    } else {
      text += std::to_string((*list)[i]);
    }
  }
  return text;
}

}  // namespace foveate
