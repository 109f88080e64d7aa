// Characters of Python strings: the template engine counts, cuts and converts code points, while
// Text stores UTF-8. Every function here expects valid UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foveate::jinja {

// Bytes of the character that starts at `at`, and its code point.
std::int64_t CharLength(std::string_view text, std::int64_t at);
char32_t CharAt(std::string_view text, std::int64_t at);
// The start of the character that ends before `end` (> 0).
std::int64_t PreviousChar(std::string_view text, std::int64_t end);

std::int64_t CountChars(std::string_view text);
// The byte at which character `index` starts; text.size() for index >= CountChars.
std::int64_t CharOffset(std::string_view text, std::int64_t index);

// What Python's str.isspace says of one character.
bool IsSpace(char32_t character);
// The bytes of `text` after / before its leading / trailing white space.
std::int64_t SkipSpace(std::string_view text, std::int64_t from = 0);
std::int64_t SkipSpaceBack(std::string_view text);

// Case mapping, character by character except for "ß", whose upper case is "SS".
std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);

// Where the characters start that repr() escapes as \x, \u or \U, in order.
std::vector<std::int64_t> FindUnprintable(std::string_view text);

enum class CharClass { kAlphabetic, kAlphanumeric, kDigit, kUpper, kLower };
// Whether `text` is not empty and all of its characters are of the class; for kUpper and kLower:
// whether it has cased characters and all of them are of that case.
bool IsAll(CharClass char_class, std::string_view text);

}  // namespace foveate::jinja
