// Numbers for tests that need some.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace foveate::testing {

inline std::vector<float> Normal(std::int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace foveate::testing
