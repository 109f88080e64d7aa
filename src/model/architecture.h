// What sets the supported architectures apart, as data. The forward pass is the same for all; each
// row of the table turns its switches. A new architecture of the family is a new row.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace foveate {

enum class RopePairs {
  kAdjacent,  // rotates (x[2i], x[2i+1]): GGUF files of arch llama store permuted q and k rows
  kHalves,    // rotates (x[i], x[i + D/2])
};

enum class GateActivation { kSilu, kGeluTanh };

struct Architecture {
  std::string_view name;  // `general.architecture`
  RopePairs rope_pairs = RopePairs::kAdjacent;
  GateActivation activation = GateActivation::kSilu;
  bool head_norms = false;  // RMS norm over head_dim of each query and key head, before RoPE
  bool post_norms = false;  // RMS norm of each sub-layer's output before the residual addition
  bool scaled_embedding = false;  // x = embedding * sqrt(E)
  // Layers i with i % window_period < window_period - 1 slide, the last of each period sees all;
  // 0: no sliding layers unless the file asks for them.
  std::int64_t window_period = 0;
  std::int64_t default_window = 0;  // where the file names none; 0: then no layer slides
  double local_rope_base = 0;       // RoPE base of sliding layers, unscaled; 0: as the others
  std::int64_t no_rope_period = 0;  // layers i with (i + 1) % period == 0 do not rotate
  double default_score_cap = 0;     // where the file names none; 0: scores are not capped
  double default_logit_cap = 0;
  // The depth of the family's model whose score scale is 1/sqrt(E/H) instead of 1/sqrt(D).
  std::int64_t embedding_scale_layers = 0;
};

// All rows, in the order they are listed to users.
std::span<const Architecture> Architectures();

// The row named `name`; throws Error(kUnsupported) listing the supported ones.
const Architecture& FindArchitecture(std::string_view name);

}  // namespace foveate
