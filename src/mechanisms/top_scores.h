// What selectors that score keys have in common.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/selection.h"

namespace foveate {

// Indices of the `count` largest scores (fewer if there are fewer), in order; of equal ones the
// first.
std::vector<std::int64_t> TopScores(std::span<const float> scores, std::int64_t count);

// The mean of a row over the query heads of a KV head: [D].
std::vector<float> MeanQuery(const SelectionInput& in, std::int64_t kv_head, std::int64_t row);

}  // namespace foveate
