// The weights of a language model by name and role, repacked for the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/buffer.h"
#include "base/context.h"
#include "format/gguf.h"
#include "kernels/packed_matrix.h"
#include "model/config.h"

namespace foveate {

using FloatVector = std::vector<float>;  // a norm weight or a bias; empty where the model has none

struct LayerWeights {
  FloatVector attention_norm;      // [E]
  PackedMatrix query, key, value;  // [H D, E], [K D, E], [K Dv, E]
  FloatVector query_bias, key_bias, value_bias;
  FloatVector query_norm, key_norm;  // [D]
  PackedMatrix attention_output;     // [E, H Dv]
  FloatVector attention_output_bias;
  FloatVector attention_post_norm;  // [E]
  FloatVector feed_forward_norm;    // [E]
  PackedMatrix gate, up;            // [F, E]
  PackedMatrix down;                // [E, F]
  FloatVector gate_bias, up_bias, down_bias;
  FloatVector feed_forward_post_norm;  // [E]
};

struct ModelWeights {
  Slab memory;              // of all matrices
  PackedMatrix embedding;   // [V, E]
  PackedMatrix output;      // [V, E]; empty: the embedding serves as output matrix too
  FloatVector output_norm;  // [E]
  std::vector<LayerWeights> layers;

  const PackedMatrix& output_matrix() const { return output.rows() > 0 ? output : embedding; }
  std::int64_t bytes() const;  // of all matrices as packed
};

// Reports the share of the weights packed so far, 0 to 1.
using LoadProgress = std::function<void(double share)>;

// Packs every matrix and gives the mapped originals back as it goes, so that the file and its
// packed form are never in memory together. Throws Error(kCorruptFile) naming a tensor that is
// missing or has other extents than the configuration asks for.
ModelWeights LoadWeights(Context& context, const GgufFile& file, const ModelConfig& config,
                         const LoadProgress& progress = {});

}  // namespace foveate
