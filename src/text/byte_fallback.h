// What becomes of characters that no token of a SentencePiece vocabulary spells: the tokens of
// their bytes, or the unknown token when the vocabulary has no such tokens.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace foveate {

class ByteFallback {
 public:
  explicit ByteFallback(const Vocabulary& vocabulary);

  // Appends what stands for `character`; neighbours share one unknown token.
  void Append(std::string_view character, std::vector<TokenId>& ids) const;

 private:
  std::array<TokenId, 256> byte_ids_;  // -1: none
  std::optional<TokenId> unknown_;
};

}  // namespace foveate
