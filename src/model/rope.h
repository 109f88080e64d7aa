// Rotary position embedding: the angle of every pair at every position, with the scalings that
// extend a model beyond its trained context. Angles are formed in float64: p * theta in float32
// loses 1e-3 at position 100,000.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor.h"
#include "format/gguf.h"
#include "model/config.h"

namespace foveate {

// The angular frequency of each rotated pair, and the magnitude that yarn gives to the rotation.
class RopeFrequencies {
 public:
  // `factors` [rope_dim / 2] divide the frequencies (Llama 3.x, longrope); empty: none.
  RopeFrequencies(double base, std::int64_t rope_dim, const RopeScaling& scaling,
                  std::span<const float> factors);

  std::int64_t pairs() const { return static_cast<std::int64_t>(theta_.size()); }

  // Writes cos and sin of every pair, times the magnitude, for `position`.
  void Row(std::int64_t position, float* cosine, float* sine) const;

 private:
  std::vector<double> theta_;
  double magnitude_ = 1;
};

// The two tables of a model: for its layers in general, and for sliding layers with their own base.
struct RopeTables {
  RopeFrequencies global;
  RopeFrequencies local;
};

// `session_context` chooses between the short and long factors of longrope. Throws
// Error(kCorruptFile) for factors of the wrong length.
RopeTables MakeRopeTables(const GgufFile& file, const ModelConfig& config,
                          std::int64_t session_context);

}  // namespace foveate
