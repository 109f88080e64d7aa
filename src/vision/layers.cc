#include "vision/layers.h"

#include <algorithm>

#include "base/checked.h"

namespace foveate {

TokenMap Halve(Context& context, const LinearLayer& layer, const TokenMap& x) {
  TokenMap halved(DivideUp<std::int64_t>(x.height, 2), DivideUp<std::int64_t>(x.width, 2),
                  layer.weight.rows());
  TokenMap patches(halved.height, halved.width, 9 * x.channels);  // channel by channel
  context.pool().ForEach(halved.height, [&](std::int64_t row, int) {
    for (std::int64_t column = 0; column < halved.width; ++column) {
      float* patch = patches.token(row, column);
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        const std::int64_t from_row = 2 * row + tap / 3 - 1, from_column = 2 * column + tap % 3 - 1;
        if (from_row < 0 || from_row >= x.height) continue;
        if (from_column < 0 || from_column >= x.width) continue;
        const float* from = x.token(from_row, from_column);
        for (std::int64_t c = 0; c < x.channels; ++c) patch[9 * c + tap] = from[c];
      }
    }
  });
  Apply(context, layer, patches.view(), halved.view());
  return halved;
}

}  // namespace foveate
