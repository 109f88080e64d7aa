#include "attention/row_ranges.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "attention/band_pattern.h"

namespace foveate {
namespace {

// Bit k is set for first_key + k in the set.
std::uint64_t BitsOf(const Ranges& keys, std::int64_t first_key) {
  auto range = std::upper_bound(keys.begin(), keys.end(), first_key,
                                [](std::int64_t key, const Range& r) { return key < r.end; });
  std::uint64_t bits = 0;
  for (; range != keys.end() && range->begin < first_key + 64; ++range) {
    bits |= BitsOf(*range, first_key);
  }
  return bits;
}

class RowRanges final : public Pattern {
 public:
  explicit RowRanges(std::vector<RowBlockKeys> blocks) : blocks_(std::move(blocks)) {
    blocks_.push_back({INT64_MAX, {}});
  }

  bool Attends(const AttentionShape&, std::int64_t row, std::int64_t key) const override {
    return (BitsOf(BlockOf(row)->keys, key) & 1) != 0;
  }

  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    return BitsOf(BlockOf(row)->keys, first_key) & BitsOf(Range{0, shape.keys}, first_key);
  }

  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    const Ranges keys = {{0, shape.keys}};
    auto block = BlockOf(rows.begin);
    Coverage cover;
    cover.all = cover.any = Intersection(block->keys, keys);
    while (block->end < rows.end) {
      const Ranges seen = Intersection((++block)->keys, keys);
      cover.all = Intersection(cover.all, seen);
      cover.any = Union(cover.any, seen);
    }
    return cover;
  }

 private:
  std::vector<RowBlockKeys>::const_iterator BlockOf(std::int64_t row) const {
    return std::upper_bound(
        blocks_.begin(), blocks_.end(), row,
        [](std::int64_t r, const RowBlockKeys& block) { return r < block.end; });
  }

  std::vector<RowBlockKeys> blocks_;
};

}  // namespace

PatternPtr MakeRowRanges(std::vector<RowBlockKeys> blocks) {
  return std::make_shared<RowRanges>(std::move(blocks));
}

}  // namespace foveate
