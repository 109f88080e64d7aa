// Byte-level BPE (`gpt2`): every byte is a symbol, written as a printable character in the
// vocabulary; pairs merge in the order of `tokenizer.ggml.merges` (Radford et al. 2019).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/merge_table.h"
#include "text/pretokenizer.h"
#include "text/subword_model.h"

namespace foveate {

class ByteBpe : public SubwordModel {
 public:
  // Throws Error(kCorruptFile) without merges.
  ByteBpe(const Vocabulary& vocabulary, Pretokenizer pretokenizer);

  void Encode(std::string_view text, std::vector<TokenId>& ids) const override;
  void AppendText(std::string_view piece, std::string& out) const override;

 private:
  // The token of a whole piece, for vocabularies that take such pieces unmerged.
  bool AppendWhole(std::string_view piece, std::vector<TokenId>& ids) const;

  const Vocabulary& vocabulary_;
  Pretokenizer pretokenizer_;
  MergeTable merges_;
  std::array<TokenId, 256> byte_ids_;  // -1: no token for this byte
};

// How a byte-level vocabulary spells `byte`, and the byte that `code` spells (-1: none).
char32_t ByteSpelling(unsigned char byte);
int SpelledByte(char32_t code);

}  // namespace foveate
