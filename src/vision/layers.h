// Feature maps of vision models made of tokens, with their channels innermost.
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"
#include "base/tensor.h"
#include "kernels/layers.h"

namespace foveate {

struct TokenMap {
  TokenMap(std::int64_t rows, std::int64_t columns, std::int64_t depth)
      : height(rows), width(columns), channels(depth), values(rows * columns * depth) {}

  std::int64_t tokens() const { return height * width; }
  View<float, 2> view() { return MakeView(values.data(), tokens(), channels); }
  View<const float, 2> view() const { return MakeView(values.data(), tokens(), channels); }
  float* token(std::int64_t y, std::int64_t x) { return &values[(y * width + x) * channels]; }
  const float* token(std::int64_t y, std::int64_t x) const {
    return &values[(y * width + x) * channels];
  }

  std::int64_t height, width, channels;
  std::vector<float> values;  // zeros at first
};

// A 3x3 convolution with stride 2 and zeros around: half as many rows and columns, rounded up.
TokenMap Halve(Context& context, const LinearLayer& layer, const TokenMap& x);

}  // namespace foveate
