// The generator behind sampling: xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom
// number generators", 2021), small, fast, and the same numbers on every machine.
#pragma once

#include <array>
#include <cstdint>

namespace foveate {

class Random {
 public:
  // Streams of different (seed, sequence) pairs are independent of each other.
  explicit Random(std::uint64_t seed, std::uint64_t sequence = 0);

  std::uint64_t Next();
  // Uniform in [0, 1), 53 random bits.
  double Uniform();

 private:
  std::array<std::uint64_t, 4> state_;
};

// A seed from the operating system, for requests that name none.
std::uint64_t RandomSeed();

}  // namespace foveate
