// The hyper-parameters of a language model as the float64 oracle understands them: every switch
// that tells one architecture from another, resolved per layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/gguf.h"

namespace foveate::reference {

enum class RopeScaling { kNone, kLinear, kNtk, kYarn, kLongRope };

struct RopeConfig {
  std::int64_t dimensions = 0;  // leading numbers of a head that are rotated, even
  double base = 10000;
  bool adjacent_pairs = true;  // rotate (2i, 2i+1); otherwise (i, i + dimensions/2)
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;
  double attention_factor = 1;  // YaRN and LongRoPE: multiplies cosines and sines
  double beta_fast = 32;
  double beta_slow = 1;
  double extrapolation = 1;   // YaRN: share of unscaled angles in the fast dimensions
  double log_multiplier = 0;  // YaRN: 0 is absent
  std::int64_t original_context = 0;
};

struct LlmConfig {
  std::string architecture;
  std::int64_t layers = 0;
  std::int64_t embed = 0;      // E
  std::int64_t vocab = 0;      // V, the rows of the embedding
  std::int64_t head_dim = 0;   // D of queries and keys
  std::int64_t value_dim = 0;  // Dv of values
  std::int64_t context = 0;    // trained context length
  double norm_epsilon = 0;
  double score_scale = 0;

  std::vector<std::int64_t> heads;     // H of each layer
  std::vector<std::int64_t> kv_heads;  // K of each layer
  std::vector<std::int64_t> windows;   // keys a query sees, itself included; 0 is all

  RopeConfig rope;                // of layers that see everything
  RopeConfig sliding_rope;        // of layers with a window
  std::int64_t no_rope_step = 0;  // layers step-1, 2*step-1, ... have no rope; 0: all have

  bool head_norms = false;       // rms over each query and key head before rope
  bool post_norms = false;       // rms over a block's output before it is added
  bool gelu = false;             // tanh GELU in the feed-forward gate instead of SiLU
  double embedding_scale = 1;    // of the input only
  double attention_cap = 0;      // 0: none
  double final_cap = 0;          // 0: none
  double temperature_scale = 0;  // 0: none
  std::int64_t temperature_length = 0;
};

// Reads the configuration; throws Error: kUnsupported for an unknown architecture, kCorruptFile for
// a missing key.
LlmConfig ReadLlmConfig(const GgufFile& file);

}  // namespace foveate::reference
