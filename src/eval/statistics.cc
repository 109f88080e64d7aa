#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace foveate {
namespace {

constexpr double kZ = 1.959963984540054;  // of 95 %
constexpr std::int64_t kBlock = 64;
constexpr int kResamples = 10'000;

}  // namespace

std::uint64_t SplitMix64::Next() {
  state_ += 0x9E3779B97F4A7C15u;
  std::uint64_t z = state_;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

Interval WilsonInterval(std::int64_t successes, std::int64_t trials) {
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n, z2 = kZ * kZ;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kZ / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

Interval BlockBootstrap(std::span<const double> differences) {
  const auto count = std::ssize(differences);
  std::vector<double> sums, sizes;  // of blocks
  for (std::int64_t first = 0; first < count; first += kBlock) {
    const auto block = differences.subspan(first, std::min(kBlock, count - first));
    double sum = 0;
    for (const double difference : block) sum += difference;
    sums.push_back(sum);
    sizes.push_back(static_cast<double>(block.size()));
  }
  SplitMix64 random(1);
  std::vector<double> means(kResamples);
  for (double& mean : means) {
    double sum = 0, size = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const auto block = static_cast<std::size_t>(random.Below(std::ssize(sums)));
      sum += sums[block];
      size += sizes[block];
    }
    mean = sum / size;
  }
  std::sort(means.begin(), means.end());
  const auto at = [&](double share) { return means[static_cast<std::size_t>(share * kResamples)]; };
  return {at(0.025), at(0.975)};
}

double McNemarTest(std::int64_t only_first, std::int64_t only_second) {
  const std::int64_t all = only_first + only_second;
  const auto n = static_cast<double>(all);
  double tail = 0;  // of the binomial distribution of n throws of a coin
  for (std::int64_t i = 0; i <= std::min(only_first, only_second); ++i) {
    const auto k = static_cast<double>(i);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) -
                     n * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

std::vector<double> HolmCorrected(std::span<const double> probabilities) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] < probabilities[b] : a < b;
  });
  std::vector<double> corrected(probabilities.size());
  double most = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const auto tests_left = static_cast<double>(order.size() - rank);
    most = std::max(most, std::min(1.0, probabilities[order[rank]] * tests_left));
    corrected[order[rank]] = most;
  }
  return corrected;
}

}  // namespace foveate
