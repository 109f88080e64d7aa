#include "text/byte_fallback.h"

#include <algorithm>

namespace foveate {

ByteFallback::ByteFallback(const Vocabulary& vocabulary)
    : unknown_(vocabulary.IdFromKey("tokenizer.ggml.unknown_token_id")) {
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[static_cast<std::size_t>(byte)] =
        vocabulary.FindByte(static_cast<unsigned char>(byte)).value_or(-1);
  }
  for (TokenId id = 0; !unknown_ && id < vocabulary.size(); ++id) {
    if (vocabulary.Type(id) == TokenType::kUnknown) unknown_ = id;
  }
}

void ByteFallback::Append(std::string_view character, std::vector<TokenId>& ids) const {
  const auto id_of = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (std::all_of(character.begin(), character.end(), [&](char c) { return id_of(c) >= 0; })) {
    for (const char c : character) ids.push_back(id_of(c));
  } else if (unknown_ && (ids.empty() || ids.back() != *unknown_)) {
    ids.push_back(*unknown_);
  }
}

}  // namespace foveate
