// What selectors that score keys have in common.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "attention/selection.h"
#include "base/cpu.h"
#include "mechanisms/params.h"

namespace foveate {

// Indices of the `count` largest scores (fewer if there are fewer), in order; of equal ones the
// first. None may be NaN.
std::vector<std::int64_t> TopScores(Isa isa, std::span<const float> scores, std::int64_t count);

// The score of keys that are not numbers is none.
template <typename T>
T Ranked(T score) {
  return std::isnan(score) ? -std::numeric_limits<T>::infinity() : score;
}

// What mechanisms of decoding keep besides: local, sink, dense_layers; behind those of their own.
std::vector<Param> WithKeptParams(std::vector<Param> own);

// The mean of a row over the query heads of a KV head: [D].
std::vector<float> MeanQuery(const SelectionInput& in, std::int64_t kv_head, std::int64_t row);

}  // namespace foveate
