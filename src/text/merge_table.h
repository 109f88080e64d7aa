// The merges of a byte-level BPE vocabulary: pair of tokens -> rank and merged token.
#pragma once

#include <cstdint>
#include <vector>

#include "text/pair_merger.h"
#include "text/vocabulary.h"

namespace foveate {

class MergeTable {
 public:
  // Reads `tokenizer.ggml.merges` ("left right", in order of rank). Throws Error(kCorruptFile) when
  // it is missing or no array of strings; merges that name unknown tokens or come twice are skipped
  // with a warning.
  explicit MergeTable(const Vocabulary& vocabulary);

  PairMerger::Merge Find(TokenId left, TokenId right) const {
    const std::uint64_t pair = Key(left, right);
    for (std::size_t at = Hash(pair) & mask_;; at = (at + 1) & mask_) {
      if (slots_[at].pair == pair) return slots_[at].merge;
      if (slots_[at].pair == kEmpty) return {};
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no pair of ids looks like this
  struct Slot {
    std::uint64_t pair = kEmpty;
    PairMerger::Merge merge;
  };

  static std::uint64_t Key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  static std::size_t Hash(std::uint64_t pair) {
    const std::uint64_t mixed = pair * 0x9E3779B97F4A7C15u;
    return mixed >> 32 ^ mixed;
  }
  bool Insert(TokenId left, TokenId right, PairMerger::Merge merge);

  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  std::size_t mask_ = 0;
};

}  // namespace foveate
