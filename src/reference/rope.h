// Rotary position embedding in float64, with every way of stretching it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "reference/llm_config.h"

namespace foveate::reference {

// What rotates one head: pair i turns by position * frequencies[i] and grows by `magnitude`.
struct Rope {
  std::vector<double> frequencies;  // [dimensions / 2]
  double magnitude = 1;
  bool adjacent_pairs = true;

  // Rotates the leading 2 * frequencies.size() numbers of `head`; the others stay.
  void Rotate(std::span<double> head, std::int64_t position) const;
};

// `divisors` [dimensions / 2] divide the frequencies first; empty for none.
Rope MakeRope(const RopeConfig& config, std::span<const double> divisors);

}  // namespace foveate::reference
