// Times, for tests that hold an algorithm to them.
#pragma once

#include <algorithm>
#include <ctime>

namespace foveate::testing {

template <typename Work>
double CpuSeconds(Work&& work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

template <typename Work>
double BestCpuSeconds(Work&& work) {
  double best = CpuSeconds(work);
  for (int i = 0; i < 4; ++i) best = std::min(best, CpuSeconds(work));
  return best;
}

}  // namespace foveate::testing
