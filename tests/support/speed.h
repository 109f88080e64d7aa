// Times, for tests that hold an algorithm to them.
#pragma once

#include <algorithm>
#include <ctime>

namespace foveate::testing {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FOVEATE_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOVEATE_SANITIZED 1
#endif

// Whether this build runs at the speed that users get: optimised, unchecked, not emulated.
#if defined(NDEBUG) && defined(__x86_64__) && !defined(FOVEATE_SANITIZED)
inline constexpr bool kFullSpeed = true;
#else
inline constexpr bool kFullSpeed = false;
#endif

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
