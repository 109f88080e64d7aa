#include "model/attention_tally.h"

#include <bit>
#include <utility>

namespace foveate {

void AttentionTally::Count(const std::vector<PatternPtr>& patterns, const AttentionShape& shape) {
  const std::int64_t step = shape.queries == 1 ? 1 : 16;
  PatternPtr last;  // heads of a group share one: it is counted once
  for (const PatternPtr& pattern : patterns) {
    if (std::exchange(last, pattern) == pattern) continue;
    for (std::int64_t row = 0; row < shape.queries; ++row) {
      const std::int64_t keys = shape.Position(row) + 1;
      if (keys % step != 0) continue;
      causal += static_cast<double>(keys);
      for (std::int64_t key = 0; key < keys; key += 64) {
        seen += std::popcount(pattern->Bits(shape, row, key));
      }
    }
  }
}

}  // namespace foveate
