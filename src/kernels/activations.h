// The input of linear layers: x [tokens, columns], rounded to 8 bits once and used by several
// matrices. The buffer is reused from layer to layer.
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "base/context.h"
#include "base/tensor.h"

namespace foveate {

enum class ActivationMode {
  kF32,  // exact: products with the dequantised weights in f32
  kQ8,   // 8 bits per value against quantised weights; plain float weights still see f32
};

// 32 values of one token: x[i] ~ scale * values[i], scale = max|x| / 127.
struct ActivationBlock {
  std::int8_t values[32];
  float scale;
  float sum;           // scale * (sum of values)
  float half_sums[2];  // the same for values 0..15 and 16..31
};

class Activations {
 public:
  // Tokens are kept in groups of at most this many; a group's blocks lie [column block][token], so
  // that a kernel holding 32 columns of weights in registers reads its tokens in sequence.
  static constexpr std::int64_t kGroupTokens = 64;

  // Room for kQ8 inputs up to this size: Set() does not allocate below it.
  void Reserve(std::int64_t max_tokens, std::int64_t max_columns);

  // Takes x [tokens, columns], innermost stride 1. The view is kept, not copied: x must stay
  // unchanged while this is used. kQ8 also rounds it to 8 bits, for which columns must be a
  // multiple of 32; other widths (only plain float weights have them) keep the floats alone.
  void Set(Context& context, View<const float, 2> x, ActivationMode mode);

  View<const float, 2> floats() const { return floats_; }
  ActivationMode mode() const { return mode_; }
  std::int64_t tokens() const { return floats_.shape[0]; }
  std::int64_t columns() const { return floats_.shape[1]; }
  std::int64_t groups() const { return (tokens() + kGroupTokens - 1) / kGroupTokens; }
  std::int64_t group_tokens(std::int64_t group) const {
    const std::int64_t left = tokens() - group * kGroupTokens;
    return left < kGroupTokens ? left : kGroupTokens;
  }
  // Blocks [columns / 32][group_tokens(group)].
  const ActivationBlock* group(std::int64_t group) const {
    return blocks_.data() + group * kGroupTokens * (columns() / 32);
  }

 private:
  View<const float, 2> floats_;
  ActivationMode mode_ = ActivationMode::kF32;
  Buffer<ActivationBlock> blocks_;
};

}  // namespace foveate
