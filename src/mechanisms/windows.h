// Runs of keys around the row's own: the plain pattern that other mechanisms build on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "attention/band_pattern.h"

namespace foveate {

// Keys i - left .. i + right; -1: no limit on that side.
class WindowPattern final : public BandPattern {
 public:
  WindowPattern(std::int64_t left, std::int64_t right) : left_(left), right_(right) {}

  std::optional<KeptKeys> Kept() const override {
    if (left_ < 0) return std::nullopt;
    return KeptKeys{.first = 0, .last = left_};
  }

 protected:
  Range Band(const AttentionShape& shape, std::int64_t row, int) const override {
    const std::int64_t i = shape.Position(row);
    return {left_ < 0 ? 0 : i - left_, right_ < 0 ? shape.keys : i + right_ + 1};
  }

 private:
  std::int64_t left_;
  std::int64_t right_;
};

inline PatternPtr MakeWindow(std::int64_t left, std::int64_t right) {
  return std::make_shared<WindowPattern>(left, right);
}

inline PatternPtr MakeCausal() { return MakeWindow(-1, 0); }

// Rounds down, also below zero.
inline std::int64_t FloorDivide(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

}  // namespace foveate
