// UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace foveate {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// What stands at one place of a text.
struct Utf8Step {
  enum class Status {
    kValid,      // a character
    kInvalid,    // bytes that can never become one
    kTruncated,  // the text ends inside a character that is well-formed so far
  };
  char32_t code = kReplacementCharacter;  // U+FFFD unless valid
  std::size_t length = 1;                 // bytes: of the character, or of the maximal invalid part
  Status status = Status::kInvalid;
};

// Reads at byte `at`, which must be inside `text`.
Utf8Step ReadUtf8(std::string_view text, std::size_t at);

// Bytes of the valid character that begins with `lead`.
inline std::size_t Utf8Length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

bool IsValidUtf8(std::string_view text);

// Bytes at the end of `text` that begin a character which more bytes could complete: 0 to 3.
std::size_t IncompleteUtf8Tail(std::string_view text);

// `code` must be a Unicode scalar value.
void AppendUtf8(char32_t code, std::string& out);

// Appends `text`, each maximal invalid part replaced by U+FFFD (section 3.9 of the standard; what
// Python's errors="replace" does).
void AppendRepairedUtf8(std::string_view text, std::string& out);

}  // namespace foveate
