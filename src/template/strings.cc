#include "template/strings.h"

#include <string.h>

#include <algorithm>
#include <string>

#include "template/fault.h"
#include "template/runtime.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

// Whether the character of `text` at `at` is in the set `chars`, or white space without one.
bool IsStripped(const std::string& text, std::int64_t at, const Text* chars) {
  if (chars == nullptr) return IsSpace(CharAt(text, at));
  return chars->bytes().find(text.data() + at, 0, CharLength(text, at)) != std::string::npos;
}

template <typename Convert>
Text ConvertRuns(const Text& text, Convert convert) {
  Text result;
  std::int64_t begin = 0;
  for (const Text::Run& run : text.runs()) {
    result.Append(convert(std::string_view(text.bytes()).substr(begin, run.end - begin)),
                  run.origin);
    begin = run.end;
  }
  return result;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::vector<Text> SplitAtSpace(Runtime& runtime, const Text& text, std::int64_t limit) {
  std::vector<Text> parts;
  std::int64_t at = SkipSpace(text.bytes());
  while (at < text.size()) {
    runtime.Charge(1);
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit) {
      parts.push_back(text.Sub(at, text.size()));
      return parts;
    }
    std::int64_t end = at;
    while (end < text.size() && !IsSpace(CharAt(text.bytes(), end))) {
      end += CharLength(text.bytes(), end);
    }
    parts.push_back(text.Sub(at, end));
    at = SkipSpace(text.bytes(), end);
  }
  return parts;
}

std::vector<Text> SplitAtSpaceFromRight(Runtime& runtime, const Text& text, std::int64_t limit) {
  const std::string& bytes = text.bytes();
  std::vector<Text> parts;
  std::int64_t end = SkipSpaceBack(bytes);
  while (end > 0) {
    runtime.Charge(1);
    std::int64_t begin = end;
    while (begin > 0 && !IsSpace(CharAt(bytes, PreviousChar(bytes, begin)))) {
      begin = PreviousChar(bytes, begin);
    }
    if (static_cast<std::int64_t>(parts.size()) == limit) begin = 0;
    parts.push_back(text.Sub(begin, end));
    end = SkipSpaceBack(std::string_view(bytes).substr(0, begin));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

std::int64_t FindBytes(std::string_view text, std::string_view part, std::int64_t from) {
  const auto size = static_cast<std::int64_t>(text.size());
  if (from > size) return -1;
  // A byte goes through memchr: sanitizers count every memmem as a read of the whole text.
  if (part.size() == 1) {
    const std::size_t at = text.find(part[0], static_cast<std::size_t>(from));
    return at == std::string_view::npos ? -1 : static_cast<std::int64_t>(at);
  }
  // memmem, because std::string::find takes quadratic time on unlucky texts.
  const void* found = memmem(text.data() + from, size - from, part.data(), part.size());
  return found == nullptr ? -1 : static_cast<const char*>(found) - text.data();
}

Text Strip(Runtime& runtime, const Text& text, const Text* chars, Ends ends) {
  runtime.Charge(text.size() / 1024 * (chars == nullptr ? 1 : chars->size()));
  const std::string& bytes = text.bytes();
  std::int64_t begin = 0;
  std::int64_t end = text.size();
  if (ends != Ends::kRight) {
    while (begin < end && IsStripped(bytes, begin, chars)) begin += CharLength(bytes, begin);
  }
  if (ends != Ends::kLeft) {
    while (end > begin && IsStripped(bytes, PreviousChar(bytes, end), chars)) {
      end = PreviousChar(bytes, end);
    }
  }
  return text.Sub(begin, end);
}

Text Replace(Runtime& runtime, const Text& text, const Text& old, const Text& replacement,
             std::int64_t count) {
  runtime.ChargeBytes(text.size());
  if (count < 0) count = text.size() + 1;
  Text result;
  std::int64_t at = 0;
  for (; count > 0; --count) {
    const std::int64_t found = FindBytes(text.bytes(), old.bytes(), at);
    if (found < 0) break;
    if (count % 8 == 0) runtime.Charge(1);
    result.AppendPart(text, at, found);
    result.Append(replacement);
    at = found + old.size();
    if (old.empty()) {  // Python puts the replacement before every character and at the end
      if (at == text.size()) return result;
      const std::int64_t next = at + CharLength(text.bytes(), at);
      result.AppendPart(text, at, next);
      at = next;
    }
    Runtime::CheckTextSize(result.size());
  }
  result.AppendPart(text, at, text.size());
  return result;
}

Text Upper(const Text& text) { return ConvertRuns(text, ToUpper); }
Text Lower(const Text& text) { return ConvertRuns(text, ToLower); }

Text Capitalize(const Text& text) {
  if (text.empty()) return text;
  const std::int64_t first = CharLength(text.bytes(), 0);
  Text result = Upper(text.Sub(0, first));
  result.Append(Lower(text.Sub(first, text.size())));
  return result;
}

Text Title(Runtime& runtime, const Text& text, bool (*ends_word)(char32_t character)) {
  Text result;
  std::int64_t word = 0;
  for (std::int64_t at = 0; at < text.size();) {
    const char32_t character = CharAt(text.bytes(), at);
    at += CharLength(text.bytes(), at);
    if (!ends_word(character) && at < text.size()) continue;
    runtime.Charge(1);
    result.Append(Capitalize(text.Sub(word, at)));
    word = at;
  }
  return result;
}

std::vector<Text> Split(Runtime& runtime, const Text& text, const Text* separator,
                        std::int64_t limit) {
  runtime.ChargeBytes(text.size());
  if (separator == nullptr) return SplitAtSpace(runtime, text, limit);
  if (separator->empty()) Fail("an empty separator");
  std::vector<Text> parts;
  std::int64_t at = 0;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    runtime.Charge(1);
    const std::int64_t found = FindBytes(text.bytes(), separator->bytes(), at);
    if (found < 0) break;
    parts.push_back(text.Sub(at, found));
    at = found + separator->size();
  }
  parts.push_back(text.Sub(at, text.size()));
  return parts;
}

std::vector<Text> SplitFromRight(Runtime& runtime, const Text& text, const Text* separator,
                                 std::int64_t limit) {
  runtime.ChargeBytes(text.size());
  if (separator == nullptr) return SplitAtSpaceFromRight(runtime, text, limit);
  if (separator->empty()) Fail("an empty separator");
  const std::string_view bytes = text.bytes();
  std::vector<Text> parts;
  std::int64_t end = text.size();
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    runtime.Charge(1);
    const std::size_t found = bytes.substr(0, end).rfind(separator->bytes());
    // rfind compares at every place that it passes.
    const std::int64_t passed = end - (found == std::string_view::npos ? 0 : found);
    runtime.Charge(passed / 1024 * separator->size());
    if (found == std::string_view::npos) break;
    parts.push_back(text.Sub(found + separator->size(), end));
    end = static_cast<std::int64_t>(found);
  }
  parts.push_back(text.Sub(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> SplitLines(Runtime& runtime, const Text& text, bool keep_ends) {
  const std::string& bytes = text.bytes();
  runtime.ChargeBytes(text.size());
  std::vector<Text> lines;
  for (std::int64_t begin = 0; begin < text.size();) {
    runtime.Charge(1);
    std::int64_t end = begin;
    while (end < text.size() && !IsLineEnd(CharAt(bytes, end))) end += CharLength(bytes, end);
    std::int64_t next = end;
    if (end < text.size()) {
      next += CharLength(bytes, end);
      if (bytes[end] == '\r' && next < text.size() && bytes[next] == '\n') ++next;
    }
    lines.push_back(text.Sub(begin, keep_ends ? next : end));
    begin = next;
  }
  return lines;
}

Text Join(Runtime& runtime, const std::vector<TextPtr>& texts, const Text& separator) {
  Text joined;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) joined.Append(separator);
    joined.Append(*texts[i]);
    Runtime::CheckTextSize(joined.size());
  }
  runtime.ChargeItems(static_cast<std::int64_t>(texts.size()));
  return joined;
}

}  // namespace foveate::jinja
