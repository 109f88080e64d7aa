// What this machine can do at most, measured: the yardsticks that speeds are reported against.
#pragma once

#include <span>

#include "base/context.h"

namespace foveate {

struct MachineLimits {
  double fma_gflops = 0;          // float32 multiply-add, 2 operations each, all threads together
  double int8_gmacs = 0;          // 8-bit multiply-accumulate into wider sums, all threads together
  double read_gb_per_second = 0;  // reading memory far larger than the caches
};

// One round of each, for comparisons that interleave: the machine's pace drifts.
double MeasureFma(Context& context);  // GFLOP/s
// GB/s of a plain sum over all of `memory`, whose size is a multiple of 4 KB for every thread.
double MeasureReading(Context& context, std::span<const float> memory);

// Takes about half a second with all threads of the context. Each limit is the best of several
// rounds: what disturbs a round only slows it.
MachineLimits MeasureMachineLimits(Context& context);

}  // namespace foveate
