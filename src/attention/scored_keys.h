// Keys that a single row attends, listed with their scores: what decoding comes to that looked at
// every key to choose some. Attention over a cache then reads the values of those keys alone.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/pattern.h"

namespace foveate {

// Of one KV head.
struct ScoredKeys {
  std::vector<std::int64_t> keys;  // rising

  // [keys / 64, rounded up][query heads of the KV head][64]: query . key, without any scale. Those
  // behind the last key are any numbers.
  std::vector<float> scores;
};

// The keys as a pattern of calls with one row, whose `Scored()` they are.
PatternPtr MakeScoredKeys(ScoredKeys scored);

}  // namespace foveate
