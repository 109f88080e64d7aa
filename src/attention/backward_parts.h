// How the backward pass is cut into parts that run side by side.
//
// A part is some tiles of rows of one KV head, with all their query heads; it sums gradients of
// keys and values of its own, which are added up afterwards in the order of the parts. So the cut,
// which shows in the rounding of these sums, depends on the work alone and not on the number of
// threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/executor.h"

namespace foveate {

// An item of the schedule of a group of heads.
struct BackwardUnit {
  std::int64_t group = 0;
  std::int64_t item = 0;
};

struct BackwardPart {
  std::vector<BackwardUnit> units;
  Range tiles;                 // of keys, from the first that is visited to the last
  std::vector<double> dsinks;  // of the query heads of the KV head, summed by who runs the part
};

// The parts of one KV head, about equally costly. `groups` are all those of the KV head, the first
// of them `first_group` of the call's; `kv_heads` all KV heads of the call, counted over batches.
std::vector<BackwardPart> CutBackward(std::span<const HeadGroup> groups, std::int64_t first_group,
                                      std::int64_t kv_heads);

}  // namespace foveate
