// Division of positions, which may be negative, into blocks.
#pragma once

#include <cstdint>

namespace foveate {

// Rounds down, also below zero; b > 0.
inline std::int64_t FloorDivide(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

}  // namespace foveate
