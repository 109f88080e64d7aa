// Hyper-parameters of a language model, read from GGUF metadata and checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "model/architecture.h"

namespace foveate {

struct LayerConfig {
  std::int64_t query_heads = 0;   // H
  std::int64_t kv_heads = 0;      // K; query head h reads kv head h / (H / K)
  std::int64_t feed_forward = 0;  // F
  std::int64_t window = 0;        // keys a query sees, itself included; 0: all before it
  bool rotates = true;            // whether RoPE applies
};

enum class RopeScalingType { kNone, kLinear, kNtk, kYarn, kLongRope };

// How rotation angles are stretched beyond the trained context.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1;
  std::int64_t original_context = 0;
  double attention_factor = 1;  // multiplies yarn's magnitude
  double beta_fast = 32;
  double beta_slow = 1;
  double log_multiplier = 0;  // mistral3: damps yarn's magnitude
};

struct ModelConfig {
  const Architecture* architecture = nullptr;
  std::string name;             // `general.name`, may be empty
  std::int64_t embedding = 0;   // E
  std::int64_t key_dim = 0;     // D of queries and keys
  std::int64_t value_dim = 0;   // D of values
  std::int64_t vocabulary = 0;  // rows of the embedding
  std::int64_t context = 0;     // trained context length
  double rms_epsilon = 0;
  double score_scale = 0;  // multiplies q . k
  double score_cap = 0;    // cap * tanh(score / cap); 0: none
  double logit_cap = 0;
  std::int64_t rope_dim = 0;  // leading dimensions of a head that rotate
  double rope_base = 0;
  double local_rope_base = 0;  // base of sliding layers, which are never scaled; 0: as the others
  RopeScaling rope_scaling;
  // Queries at position p are scaled by 1 + temperature_scale * ln(1 + floor(p /
  // temperature_length)).
  double temperature_scale = 0;
  std::int64_t temperature_length = 0;
  std::vector<LayerConfig> layers;

  std::int64_t max_query_heads() const;
  std::int64_t max_kv_heads() const;
  std::int64_t max_feed_forward() const;
};

// Reads and checks the configuration; throws Error: kUnsupported for an architecture or a feature
// outside the list, kCorruptFile naming the key, what it holds and what was expected.
ModelConfig ReadModelConfig(const GgufFile& file);

const char* RopeScalingName(RopeScalingType type);

}  // namespace foveate
