#include "template/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <memory>
#include <new>

#include "text/utf8.h"

namespace foveate::jinja {
namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using Regex = std::unique_ptr<pcre2_code, FreeCode>;

Regex Compile(std::string_view pattern) {
  int error = 0;
  PCRE2_SIZE error_at = 0;
  Regex regex(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_DOTALL, &error, &error_at, nullptr));
  if (!regex) throw std::bad_alloc();  // the patterns are ours, so only memory can fail
  return regex;
}

// Calls found(start) for every match of `pattern` until it returns false.
template <typename Callback>
void Search(std::string_view pattern, std::string_view text, Callback found) {
  const Regex regex = Compile(pattern);
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(
      pcre2_match_data_create_from_pattern(regex.get(), nullptr));
  if (!match) throw std::bad_alloc();
  PCRE2_SIZE from = 0;
  while (pcre2_match(regex.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                     PCRE2_NO_UTF_CHECK, match.get(), nullptr) >= 0) {
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    if (!found(static_cast<std::int64_t>(range[0]))) break;
    from = range[1];
  }
}

bool Found(std::string_view pattern, std::string_view text) {
  bool found = false;
  Search(pattern, text, [&](std::int64_t) {
    found = true;
    return false;
  });
  return found;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// `replacement` is "\U$0" or "\L$0": PCRE2 changes the case of everything that it inserts.
std::string ChangeCase(std::string_view text, std::string_view replacement) {
  const Regex regex = Compile("[^ß]+");  // its only simple upper case, ẞ, is not what Python writes
  std::string result(text.size() * 2 + 16, '\0');  // no simple mapping doubles a character's bytes
  PCRE2_SIZE size = result.size();
  const int count =
      pcre2_substitute(regex.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                       PCRE2_NO_UTF_CHECK | PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_EXTENDED,
                       nullptr, nullptr, reinterpret_cast<PCRE2_SPTR>(replacement.data()),
                       replacement.size(), reinterpret_cast<PCRE2_UCHAR*>(result.data()), &size);
  if (count < 0) throw std::bad_alloc();
  result.resize(size);
  return result;
}

std::string ExpandSharpS(std::string text) {
  constexpr std::string_view kSharpS = "ß";
  for (std::size_t at = 0; (at = text.find(kSharpS, at)) != std::string::npos; at += 2) {
    text.replace(at, kSharpS.size(), "SS");
  }
  return text;
}

}  // namespace

std::int64_t CharLength(std::string_view text, std::int64_t at) {
  return static_cast<std::int64_t>(Utf8Length(text[at]));
}

char32_t CharAt(std::string_view text, std::int64_t at) { return ReadUtf8(text, at).code; }

std::int64_t PreviousChar(std::string_view text, std::int64_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

std::int64_t CountChars(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

std::int64_t CharOffset(std::string_view text, std::int64_t index) {
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t at = 0;
  while (index-- > 0 && at < size) at += CharLength(text, at);
  return at;
}

bool IsSpace(char32_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
         c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

std::int64_t SkipSpace(std::string_view text, std::int64_t from) {
  const auto size = static_cast<std::int64_t>(text.size());
  while (from < size && IsSpace(CharAt(text, from))) from += CharLength(text, from);
  return from;
}

std::int64_t SkipSpaceBack(std::string_view text) {
  auto end = static_cast<std::int64_t>(text.size());
  while (end > 0) {
    const std::int64_t start = PreviousChar(text, end);
    if (!IsSpace(CharAt(text, start))) break;
    end = start;
  }
  return end;
}

std::string ToUpper(std::string_view text) {
  if (!IsAscii(text)) return ExpandSharpS(ChangeCase(text, "\\U$0"));
  std::string result(text);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

std::string ToLower(std::string_view text) {
  if (!IsAscii(text)) return ChangeCase(text, "\\L$0");
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::vector<std::int64_t> FindUnprintable(std::string_view text) {
  const auto plain = [](char c) { return c >= 0x20 && c < 0x7f; };
  std::vector<std::int64_t> starts;
  if (std::all_of(text.begin(), text.end(), plain)) return starts;
  Search("(?! )[\\p{C}\\p{Z}]", text, [&](std::int64_t start) {
    starts.push_back(start);
    return true;
  });
  return starts;
}

bool IsAll(CharClass char_class, std::string_view text) {
  switch (char_class) {
    case CharClass::kAlphabetic: return Found("\\A\\p{L}+\\z", text);
    case CharClass::kAlphanumeric: return Found("\\A[\\p{L}\\p{N}]+\\z", text);
    case CharClass::kDigit: return Found("\\A\\p{Nd}+\\z", text);
    case CharClass::kUpper: return Found("\\p{Lu}", text) && !Found("[\\p{Ll}\\p{Lt}]", text);
    case CharClass::kLower: return Found("\\p{Ll}", text) && !Found("[\\p{Lu}\\p{Lt}]", text);
  }
  return false;
}

}  // namespace foveate::jinja
