// How SentencePiece vocabularies see text: spaces are the character U+2581, usually with one more
// in front of the text (Kudo and Richardson 2018).
#pragma once

#include <bitset>
#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace foveate {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

struct SentencePieceOptions {
  bool add_space_prefix = true;
  bool remove_extra_spaces = false;  // none in front, behind, or more than one between words
};

std::string MarkSpaces(std::string_view text, SentencePieceOptions options);
// Appends `piece` with its marks as spaces again.
void AppendUnmarked(std::string_view piece, std::string& out);

// Cuts marked text into stretches that no token of the vocabulary reaches across, so that each can
// be encoded by itself. Nearly always these are the words: few tokens hold a mark behind other
// text.
class WordSplitter {
 public:
  explicit WordSplitter(const Vocabulary& vocabulary);

  // Bytes of the first stretch of `text`, which is not empty.
  std::size_t FirstWord(std::string_view text) const;

 private:
  std::bitset<256> before_mark_;  // bytes that stand before a mark inside some token
};

}  // namespace foveate
