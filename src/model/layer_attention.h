// Which keys each layer of a model attends to: the model's own causal attention and windows, or a
// mechanism that the user chose instead.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attention/pattern.h"
#include "mechanisms/spec.h"
#include "model/config.h"

namespace foveate {

// Sinks that stand right before the window, wherever the window is (StreamingLLM's positions in the
// cache): keys at positions below `count` that have left the window are seen as if the query were
// at position count + left.
struct MovedSinks {
  std::int64_t count = 0;
  std::int64_t left = 0;
  PatternPtr pattern;  // the sinks behind the window

  std::int64_t QueryPosition(std::int64_t position) const {
    return position < count + left ? position : count + left;
  }
};

struct LayerAttentionPlan {
  PatternPtr pattern;                            // of all heads, or
  std::vector<PatternPtr> head_patterns;         // of each query head, or
  std::optional<LayerAttention> selection = {};  // mechanisms that choose keys by content
  std::optional<KeptKeys> kept;                  // what later queries can see; none: everything
  std::optional<MovedSinks> sinks;
};

// One plan for each layer. A spec without layers replaces the attention of the layers that have no
// window of their own; a spec with layers that of the layers it names. Every pattern is restricted
// to causal attention. A mechanism that chooses keys by content leaves its first `dense_layers` of
// the model's layers as they are. Equal layers share their patterns. Throws Error: kUnsupported for
// mechanisms that are no patterns or count the rows of a call, kInvalidArgument for layers that the
// model does not have.
std::vector<LayerAttentionPlan> PlanAttention(const ModelConfig& config,
                                              const std::optional<AttentionSpec>& spec);

// Whether every layer forgets what it no longer sees: then memory bounds no text's length.
bool IsStreaming(const std::vector<LayerAttentionPlan>& plans);

}  // namespace foveate
