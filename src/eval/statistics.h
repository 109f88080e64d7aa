// How sure a measured rate or difference is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace foveate {

struct Interval {
  double low = 0, high = 0;
};

// Of a rate: Wilson's 95 % interval (1927) for `successes` of `trials`, at least one.
Interval WilsonInterval(std::int64_t successes, std::int64_t trials);

// Of the mean of differences that come in order and are alike among neighbours: the 95 % percentile
// interval over 10,000 resamples of blocks of 64. At least one; deterministic.
Interval BlockBootstrap(std::span<const double> differences);

// The exact test of McNemar (1947): how likely two ways that succeed equally often differ at least
// this much, on the same cases, where only one of them succeeds in `only_first` and `only_second`.
double McNemarTest(std::int64_t only_first, std::int64_t only_second);

// Probabilities of several tests at once, corrected by Holm's method (1979), in the same order.
std::vector<double> HolmCorrected(std::span<const double> probabilities);

// SplitMix64 (Steele et al. 2014): the generator of all cases, the same on every machine.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next();
  std::int64_t Below(std::int64_t count) {
    return static_cast<std::int64_t>(Next() % static_cast<std::uint64_t>(count));
  }

 private:
  std::uint64_t state_;
};

}  // namespace foveate
