// What attention cost in those layers of a decoder that have no window of their own, the ones that
// a mechanism takes: for evaluations that set quality against time.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/pattern.h"

namespace foveate {

struct AttentionTally {
  double seconds = 0;            // in attention, choosing of keys included
  double selection_seconds = 0;  // of them in choosing keys by content
  double seen = 0;               // pairs that are attended, of a sample of positions
  double causal = 0;             // pairs that causal attention has at them

  double density() const { return causal > 0 ? seen / causal : 1; }

  // Adds what rows of a call see: of a single one, or of one position in 16. `patterns`: one for
  // each head, or one for all.
  void Count(const std::vector<PatternPtr>& patterns, const AttentionShape& shape);
};

}  // namespace foveate
