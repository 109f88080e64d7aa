// Where a sequence of keys changes: the borders of chunks of like keys, for mechanisms that score
// chunks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace foveate {

// How the borders are picked from scores of cuts.
struct CutRule {
  std::int64_t most = 1;          // cuts, those that are forced among them
  std::int64_t distance = 4;      // cuts no farther from each other than this are one
  std::optional<double> least;    // a cut's score is above it; none: any
  std::int64_t instructions = 0;  // last rows of a prompt, before which a cut is forced; 0: none
};

// 0, the first keys of the chunks, and the number of keys. scores[t] is that of a cut after key t;
// NaN: none there. Cuts are taken by falling score, of equal ones the first.
std::vector<std::int64_t> PickBounds(std::span<const double> scores, const CutRule& rule);

// Chunks of `size` keys, the last one perhaps shorter.
std::vector<std::int64_t> UniformBounds(std::int64_t keys, std::int64_t size);

}  // namespace foveate
