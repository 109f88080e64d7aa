#include "model/architecture.h"

#include <string>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr Architecture kArchitectures[] = {
    {.name = "llama"},
    {.name = "qwen2", .rope_pairs = RopePairs::kHalves},
    {.name = "qwen3", .rope_pairs = RopePairs::kHalves, .head_norms = true},
    {.name = "smollm3", .no_rope_period = 4},
    {.name = "mistral3"},
    {.name = "gemma2",
     .rope_pairs = RopePairs::kHalves,
     .activation = GateActivation::kGeluTanh,
     .post_norms = true,
     .scaled_embedding = true,
     .window_period = 2,
     .default_window = 4096,
     .default_score_cap = 50,
     .default_logit_cap = 30,
     .embedding_scale_layers = 46},
    {.name = "gemma3",
     .rope_pairs = RopePairs::kHalves,
     .activation = GateActivation::kGeluTanh,
     .head_norms = true,
     .post_norms = true,
     .scaled_embedding = true,
     .window_period = 6,
     .local_rope_base = 10000,
     .embedding_scale_layers = 62},
};

}  // namespace

std::span<const Architecture> Architectures() { return kArchitectures; }

const Architecture& FindArchitecture(std::string_view name) {
  std::string supported;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return architecture;
    if (!supported.empty()) supported += ", ";
    supported += architecture.name;
  }
  Throw(ErrorCode::kUnsupported, "unsupported architecture '{}' (supported: {})", name, supported);
}

}  // namespace foveate
