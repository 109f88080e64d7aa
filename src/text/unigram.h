// Unigram (`t5`): the split of the text into tokens with the greatest sum of scores, by Viterbi's
// algorithm (Kudo 2018).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/byte_fallback.h"
#include "text/sentencepiece_text.h"
#include "text/subword_model.h"
#include "text/token_trie.h"

namespace foveate {

class Unigram : public SubwordModel {
 public:
  // Throws Error(kCorruptFile) for a vocabulary without scores.
  Unigram(const Vocabulary& vocabulary, SentencePieceOptions options);

  void Encode(std::string_view text, std::vector<TokenId>& ids) const override;
  void AppendText(std::string_view piece, std::string& out) const override;
  bool adds_space_prefix() const override { return options_.add_space_prefix; }

 private:
  // The best way to reach one byte of a word.
  struct Step {
    double score;
    std::uint32_t bytes;  // of the last token
    TokenId id;           // kNoToken: a character without a token
  };

  // Leaves in `best` the best way to every byte of `word`; `best` is reused from word to word.
  void FindBest(std::string_view word, std::vector<Step>& best) const;

  const Vocabulary& vocabulary_;
  SentencePieceOptions options_;
  WordSplitter words_;
  ByteFallback fallback_;
  TokenTrie trie_;
  double missing_score_;  // of a character without a token
};

}  // namespace foveate
