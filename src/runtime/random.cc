#include "runtime/random.h"

#include <bit>
#include <random>

namespace foveate {
namespace {

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: spreads any seed,
// zero included, over all bits.
std::uint64_t SplitMix(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(std::uint64_t seed, std::uint64_t sequence) {
  // Mixing the sequence number before it meets the seed keeps (1, 2) and (2, 1) apart.
  std::uint64_t spread = ~sequence;
  std::uint64_t start = seed ^ SplitMix(spread);
  for (std::uint64_t& word : state_) word = SplitMix(start);
}

std::uint64_t Random::Next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

std::uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace foveate
