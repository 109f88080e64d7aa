// SentencePiece BPE (`llama`): characters merge into tokens, the highest score first (Kudo and
// Richardson 2018); what is left without a token becomes byte tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_fallback.h"
#include "text/pair_merger.h"
#include "text/sentencepiece_text.h"
#include "text/subword_model.h"

namespace foveate {

class SentencePieceBpe : public SubwordModel {
 public:
  // Throws Error(kCorruptFile) for a vocabulary without scores.
  SentencePieceBpe(const Vocabulary& vocabulary, SentencePieceOptions options);

  void Encode(std::string_view text, std::vector<TokenId>& ids) const override;
  void AppendText(std::string_view piece, std::string& out) const override;
  bool adds_space_prefix() const override { return options_.add_space_prefix; }

 private:
  struct Symbol {
    std::string_view text;
    TokenId id;  // of the token it merged into, if it did
  };

  // What a pair that together spells `piece` merges into.
  PairMerger::Merge MergeInto(std::string_view piece) const;
  void EncodeWord(std::string_view word, PairMerger& merger, std::vector<TokenId>& ids) const;
  void AppendSymbol(const Symbol& symbol, std::vector<TokenId>& ids) const;
  bool IsMergedUnused(const Symbol& symbol) const;
  void AppendUndone(const Symbol& symbol, std::vector<TokenId>& ids) const;

  const Vocabulary& vocabulary_;
  SentencePieceOptions options_;
  WordSplitter words_;
  ByteFallback fallback_;
};

}  // namespace foveate
