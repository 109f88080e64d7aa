// The heart of both BPE kinds: merge the adjacent pair of the lowest rank, leftmost first among
// equals, until no adjacent pair has a rank.
//
//   merger.Reset();
//   for (...) merger.Add(bytes, id);                     // the symbols, left to right
//   merger.Run([&](const PairMerger::Pair& pair) { return PairMerger::Merge{rank, id}; });
//   merger.ForEach([&](std::uint32_t begin, std::uint32_t end, TokenId id) { ... });
//
// Words are merged by scanning for the minimum; long stretches (a megabyte of one letter is one)
// through a heap, in O(n log n). An object serves many texts and keeps its memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "text/vocabulary.h"

namespace foveate {

class PairMerger {
 public:
  static constexpr std::uint32_t kNoRank = std::numeric_limits<std::uint32_t>::max();

  // Two neighbours: bytes [begin, middle) and [middle, end) with their ids.
  struct Pair {
    std::uint32_t begin, middle, end;
    TokenId left, right;
  };
  struct Merge {
    std::uint32_t rank = kNoRank;
    TokenId id = -1;  // of the merged symbol
  };

  void Reset() {
    symbols_.clear();
    count_ = 0;
  }

  // A symbol of `bytes` bytes. `id` is for the ranking; it may be anything but the lowest number.
  void Add(std::uint32_t bytes, TokenId id) {
    for (std::uint32_t i = 0; i < bytes; ++i) symbols_.push_back({bytes, id});
    ++count_;
  }

  template <typename Rank>
  void Run(Rank&& rank) {
    if (count_ < 2) return;
    if (count_ <= kFewSymbols) {
      RunByScan(rank);
    } else {
      RunByHeap(rank);
    }
  }

  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (std::uint32_t at = 0; at < size(); at += symbols_[at].bytes) {
      visit(at, at + symbols_[at].bytes, symbols_[at].id);
    }
  }

 private:
  // At byte b stands the symbol that begins there. The slot of a symbol's last byte repeats its
  // length, so both neighbours are found without links.
  struct Symbol {
    std::uint32_t bytes;
    TokenId id;
  };
  struct Candidate {
    std::uint64_t order;  // rank, then place
    std::uint32_t bytes;  // of both symbols when this was found: stale if they have grown since
    TokenId id;
    bool operator>(const Candidate& other) const { return order > other.order; }
  };
  static constexpr int kFewSymbols = 24;
  static constexpr TokenId kAbsorbed = std::numeric_limits<TokenId>::min();

  std::uint32_t size() const { return static_cast<std::uint32_t>(symbols_.size()); }

  void Replace(std::uint32_t begin, std::uint32_t bytes, TokenId id) {
    symbols_[begin] = {bytes, id};
    symbols_[begin + bytes - 1].bytes = bytes;
  }

  template <typename Rank>
  void RunByScan(Rank& rank);
  template <typename Rank>
  void RunByHeap(Rank& rank);

  std::vector<Symbol> symbols_;
  int count_ = 0;
  std::vector<Candidate> heap_;
};

template <typename Rank>
void PairMerger::RunByScan(Rank& rank) {
  std::uint32_t starts[kFewSymbols + 1];
  Merge merges[kFewSymbols];  // of symbol i with symbol i + 1
  int count = 0;
  ForEach([&](std::uint32_t begin, std::uint32_t, TokenId) { starts[count++] = begin; });
  starts[count] = size();
  const auto merge_at = [&](int i) {
    return rank(Pair{starts[i], starts[i + 1], starts[i + 2], symbols_[starts[i]].id,
                     symbols_[starts[i + 1]].id});
  };
  for (int i = 0; i + 1 < count; ++i) merges[i] = merge_at(i);
  while (count > 1) {
    int best = 0;
    for (int i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) return;
    Replace(starts[best], starts[best + 2] - starts[best], merges[best].id);
    std::copy(starts + best + 2, starts + count + 1, starts + best + 1);
    if (best + 2 < count) std::copy(merges + best + 2, merges + count - 1, merges + best + 1);
    --count;
    if (best > 0) merges[best - 1] = merge_at(best - 1);
    if (best + 1 < count) merges[best] = merge_at(best);
  }
}

template <typename Rank>
void PairMerger::RunByHeap(Rank& rank) {
  heap_.clear();
  // The candidate of the symbol at `begin` with its right neighbour.
  const auto consider = [&](std::uint32_t begin) {
    const std::uint32_t middle = begin + symbols_[begin].bytes;
    if (middle == size()) return false;
    const std::uint32_t end = middle + symbols_[middle].bytes;
    const Merge merge = rank(Pair{begin, middle, end, symbols_[begin].id, symbols_[middle].id});
    if (merge.rank == kNoRank) return false;
    heap_.push_back({std::uint64_t{merge.rank} << 32 | begin, end - begin, merge.id});
    return true;
  };
  const auto lowest_first = std::greater<Candidate>();
  ForEach([&](std::uint32_t begin, std::uint32_t, TokenId) { consider(begin); });
  std::make_heap(heap_.begin(), heap_.end(), lowest_first);
  while (!heap_.empty()) {
    const Candidate top = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), lowest_first);
    heap_.pop_back();
    const auto begin = static_cast<std::uint32_t>(top.order);
    if (symbols_[begin].id == kAbsorbed) continue;
    const std::uint32_t middle = begin + symbols_[begin].bytes;
    if (middle == size() || symbols_[begin].bytes + symbols_[middle].bytes != top.bytes) continue;
    symbols_[middle].id = kAbsorbed;
    Replace(begin, top.bytes, top.id);
    if (begin > 0 && consider(begin - symbols_[begin - 1].bytes)) {
      std::push_heap(heap_.begin(), heap_.end(), lowest_first);
    }
    if (consider(begin)) std::push_heap(heap_.begin(), heap_.end(), lowest_first);
  }
}

}  // namespace foveate
