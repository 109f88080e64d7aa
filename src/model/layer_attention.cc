#include "model/layer_attention.h"

#include <algorithm>
#include <map>

#include "attention/window_pattern.h"
#include "base/throw.h"

namespace foveate {
namespace {

// The keys below `count` that are more than `left` behind the row.
class SinksBehindWindow final : public Pattern {
 public:
  SinksBehindWindow(std::int64_t count, std::int64_t left) : count_(count), left_(left) {}

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return key < End(shape, row);
  }
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    return {Normalised({{0, End(shape, rows.begin)}}), Normalised({{0, End(shape, rows.end - 1)}})};
  }

 private:
  std::int64_t End(const AttentionShape& shape, std::int64_t row) const {
    return std::min({count_, shape.keys, shape.Position(row) - left_});
  }

  std::int64_t count_;
  std::int64_t left_;
};

class Planner {
 public:
  LayerAttentionPlan Own(const LayerConfig& layer) {
    PatternPtr& pattern = windows_[layer.window];
    if (!pattern) pattern = layer.window > 0 ? Window(layer.window - 1, 0) : causal_;
    return {.pattern = pattern, .head_patterns = {}, .kept = pattern->Kept(), .sinks = {}};
  }

  LayerAttentionPlan Chosen(const LayerAttention& chosen, const LayerConfig& layer,
                            std::int64_t index) {
    CheckHeads(chosen, layer.query_heads);
    for (const HeadAttention& use : chosen.heads) CheckUsable(*use.node);
    if (HasSelector(chosen)) return Selected(chosen, layer, index);
    LayerAttentionPlan plan;
    bool all_kept = true;
    for (std::int64_t head = 0; head < layer.query_heads; ++head) {
      const PatternPtr pattern = Causal(HeadOf(chosen, head).pattern);
      plan.head_patterns.push_back(pattern);
      const std::optional<KeptKeys> kept = pattern->Kept();
      all_kept = all_kept && kept;
      if (!all_kept) continue;
      const KeptKeys sofar = plan.kept.value_or(KeptKeys{});
      plan.kept = KeptKeys{std::max(sofar.first, kept->first), std::max(sofar.last, kept->last)};
    }
    if (!all_kept) plan.kept.reset();
    if (chosen.heads.size() == 1) {
      plan.pattern = plan.head_patterns[0];
      plan.head_patterns.clear();
      MoveSinks(*chosen.heads[0].node, plan);
    }
    return plan;
  }

 private:
  LayerAttentionPlan Selected(LayerAttention chosen, const LayerConfig& layer, std::int64_t index) {
    LayerAttentionPlan own = Own(layer);
    for (HeadAttention& use : chosen.heads) {
      if (use.selector == nullptr) {
        use.pattern = Causal(use.pattern);
      } else if (index < DenseLayers(use.node->mechanism.front())) {
        use.selector = nullptr;
        use.pattern = own.pattern;
      }
    }
    if (!HasSelector(chosen) && chosen.heads.size() == 1) return own;
    return {.pattern = nullptr,
            .head_patterns = {},
            .selection = std::move(chosen),
            .kept = {},
            .sinks = {}};
  }

  // How many of a model's first layers it leaves alone.
  static std::int64_t DenseLayers(const Params& params) {
    for (const Param& param : params.mechanism().params) {
      if (param.key == "dense_layers") return params.Integer("dense_layers");
    }
    return 0;
  }

  static const HeadAttention& HeadOf(const LayerAttention& layer, std::int64_t head) {
    for (const HeadAttention& use : layer.heads) {
      if (use.heads.begin <= head && head < use.heads.end) return use;
    }
    Throw(ErrorCode::kInvalidArgument, "--attention says nothing of query head {}", head);
  }

  static void CheckUsable(const SpecNode& node) {
    for (const SpecNodePtr& child : node.children) CheckUsable(*child);
    for (const Params& params : node.mechanism) {
      const Mechanism& mechanism = params.mechanism();
      if (mechanism.selector != nullptr) continue;
      if (mechanism.pattern == nullptr || mechanism.by_row) {
        Throw(ErrorCode::kUnsupported, "--attention: {} cannot be used in a language model: {}",
              mechanism.name,
              mechanism.by_row ? "it counts the rows of one call" : "it is no pattern of keys");
      }
    }
  }

  PatternPtr Causal(const PatternPtr& pattern) {
    PatternPtr& both = causal_of_[pattern];
    if (!both) both = pattern == FullPattern() ? causal_ : And(causal_, pattern);
    return both;
  }

  // sink_window with positions=cache: the window at its own place, its sinks moved.
  void MoveSinks(const SpecNode& node, LayerAttentionPlan& plan) {
    if (node.kind != SpecNode::Kind::kMechanism) return;
    const Params& params = node.mechanism[0];
    if (params.mechanism().name != "sink_window" || params.Word("positions") != "cache") return;
    const std::int64_t count = params.Integer("sink"), left = params.Integer("left");
    MovedSinks& sinks = moved_[{count, left}];
    if (!sinks.pattern) {
      sinks = {count, left, std::make_shared<SinksBehindWindow>(count, left)};
    }
    plan.sinks = sinks;
    PatternPtr& window = windows_[left + 1];
    if (!window) window = Window(left, 0);
    plan.pattern = window;
  }

  PatternPtr causal_ = Window(-1, 0);
  std::map<std::int64_t, PatternPtr> windows_;
  std::map<PatternPtr, PatternPtr> causal_of_;
  std::map<std::pair<std::int64_t, std::int64_t>, MovedSinks> moved_;
};

// The part of the spec for a layer; null where the model keeps its own attention.
const LayerAttention* ChosenFor(const AttentionSpec& spec, std::int64_t index,
                                const LayerConfig& layer) {
  const auto& parts = spec.layers();
  if (parts.size() == 1 && parts[0].layers == Range{0, kNoEnd}) {
    return layer.window > 0 ? nullptr : &parts[0];
  }
  for (const LayerAttention& part : parts) {
    if (part.layers.begin <= index && index < part.layers.end) return &part;
  }
  return nullptr;
}

}  // namespace

std::vector<LayerAttentionPlan> PlanAttention(const ModelConfig& config,
                                              const std::optional<AttentionSpec>& spec) {
  const auto count = std::ssize(config.layers);
  if (spec) {
    for (const LayerAttention& part : spec->layers()) {
      const std::int64_t last = part.layers.end == kNoEnd ? part.layers.begin : part.layers.end - 1;
      if (last >= count) {
        Throw(ErrorCode::kInvalidArgument, "--attention: layer {}, but the model has {} (0 to {})",
              last, count, count - 1);
      }
    }
  }
  Planner planner;
  std::vector<LayerAttentionPlan> plans;
  for (std::int64_t i = 0; i < count; ++i) {
    const LayerConfig& layer = config.layers[i];
    const LayerAttention* chosen = spec ? ChosenFor(*spec, i, layer) : nullptr;
    plans.push_back(chosen != nullptr ? planner.Chosen(*chosen, layer, i) : planner.Own(layer));
  }
  return plans;
}

bool IsStreaming(const std::vector<LayerAttentionPlan>& plans) {
  return std::all_of(plans.begin(), plans.end(),
                     [](const LayerAttentionPlan& plan) { return plan.kept.has_value(); });
}

}  // namespace foveate
