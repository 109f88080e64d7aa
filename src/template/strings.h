// String operations that filters and methods share. All keep the origin of every character.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "template/value.h"

namespace foveate::jinja {

// The first byte of `part` in `text` at or after `from`, or -1; linear time.
std::int64_t FindBytes(std::string_view text, std::string_view part, std::int64_t from);

// Takes white space, or the characters of `chars`, off the chosen ends.
enum class Ends { kLeft, kRight, kBoth };
Text Strip(Runtime& runtime, const Text& text, const Text* chars, Ends ends);

// Replaces the first `count` occurrences (negative: all) of `old`.
Text Replace(Runtime& runtime, const Text& text, const Text& old, const Text& replacement,
             std::int64_t count);

Text Upper(const Text& text);
Text Lower(const Text& text);
// The first character in upper case, the others in lower case.
Text Capitalize(const Text& text);
// Capitalizes each word; a word ends with a character for which `ends_word` holds.
Text Title(Runtime& runtime, const Text& text, bool (*ends_word)(char32_t character));

// str.split() and str.rsplit(): at most `limit` cuts (negative: any), at `separator` or, without
// one, at runs of white space.
std::vector<Text> Split(Runtime& runtime, const Text& text, const Text* separator,
                        std::int64_t limit);
std::vector<Text> SplitFromRight(Runtime& runtime, const Text& text, const Text* separator,
                                 std::int64_t limit);
std::vector<Text> SplitLines(Runtime& runtime, const Text& text, bool keep_ends);

// The texts with `separator` between them.
Text Join(Runtime& runtime, const std::vector<TextPtr>& texts, const Text& separator);

}  // namespace foveate::jinja
