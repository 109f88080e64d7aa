#include "mechanisms/spec.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/throw.h"

namespace foveate {
namespace {

PatternPtr PatternOf(const SpecNode& node, bool combined) {
  if (node.kind == SpecNode::Kind::kMechanism) {
    const Params& params = node.mechanism.front();
    const Mechanism& mechanism = params.mechanism();
    if (mechanism.pattern != nullptr) return mechanism.pattern(params);
    if (!combined) return nullptr;
    Throw(ErrorCode::kInvalidArgument, "{} is no pattern, so & and | do not apply to it",
          mechanism.name);
  }
  PatternPtr pattern;
  for (const SpecNodePtr& child : node.children) {
    const PatternPtr next = PatternOf(*child, true);
    if (pattern == nullptr) {
      pattern = next;
    } else {
      pattern = node.kind == SpecNode::Kind::kAnd ? And(pattern, next) : Or(pattern, next);
    }
  }
  return pattern;
}

void CollectHeadEnds(const SpecNode& node, std::set<std::int64_t>& ends) {
  for (const Range& heads : node.heads) ends.insert({heads.begin, heads.end});
  for (const SpecNodePtr& child : node.children) CollectHeadEnds(*child, ends);
}

// The node without its choice of heads; null if it says nothing of this head.
SpecNodePtr ForHead(const SpecNodePtr& node, std::int64_t head) {
  if (node->kind == SpecNode::Kind::kHeads) {
    for (std::size_t i = 0; i < node->heads.size(); ++i) {
      if (node->heads[i].begin <= head && head < node->heads[i].end) return node->children[i];
    }
    return nullptr;
  }
  auto copy = std::make_shared<SpecNode>(*node);
  for (SpecNodePtr& child : copy->children) {
    child = ForHead(child, head);
    if (child == nullptr) return nullptr;
  }
  return copy;
}

// What a mechanism by itself chooses keys with; null: nothing.
SelectorPtr SelectorOf(const SpecNode& node) {
  if (node.kind != SpecNode::Kind::kMechanism) return nullptr;
  const Params& params = node.mechanism.front();
  return params.mechanism().selector == nullptr ? nullptr : params.mechanism().selector(params);
}

struct Made {
  PatternPtr pattern;
  SelectorPtr selector;
};

std::vector<HeadAttention> HeadsOf(const SpecNodePtr& node, std::map<std::string, Made>& all) {
  std::set<std::int64_t> ends = {0, kNoEnd};
  CollectHeadEnds(*node, ends);
  std::vector<HeadAttention> heads;
  for (auto begin = ends.begin(); std::next(begin) != ends.end(); ++begin) {
    const SpecNodePtr own = ForHead(node, *begin);
    if (own == nullptr) continue;
    const auto [entry, added] = all.try_emplace(ToText(*own));
    Made& made = entry->second;
    if (added) made = {PatternOf(*own, false), SelectorOf(*own)};
    heads.push_back({{*begin, *std::next(begin)}, own, made.pattern, made.selector});
  }
  return heads;
}

template <typename Item>
const Item& Find(const std::vector<Item>& items, Range Item::* range, std::int64_t index,
                 std::string_view what) {
  std::string known;
  for (const Item& item : items) {
    const Range& own = item.*range;
    if (own.begin <= index && index < own.end) return item;
    known += (known.empty() ? "" : ", ") + RangeText(own);
  }
  Throw(ErrorCode::kInvalidArgument, "the attention spec says nothing of {} {}, only of {}", what,
        index, known);
}

}  // namespace

AttentionSpec::AttentionSpec(std::vector<LayerAttention> layers) : layers_(std::move(layers)) {
  std::map<std::string, Made> all;  // by canonical text, so that equal ones are shared
  for (LayerAttention& layer : layers_) layer.heads = HeadsOf(layer.node, all);
}

const LayerAttention& AttentionSpec::Layer(std::int64_t layer) const {
  return Find(layers_, &LayerAttention::layers, layer, "layer");
}

const HeadAttention& AttentionSpec::At(std::int64_t layer, std::int64_t head) const {
  return Find(Layer(layer).heads, &HeadAttention::heads, head, "head");
}

void CheckHeads(const LayerAttention& layer, std::int64_t heads) {
  for (const HeadAttention& use : layer.heads) {
    const std::int64_t last = use.heads.end == kNoEnd ? use.heads.begin : use.heads.end - 1;
    if (last < heads) continue;
    Throw(ErrorCode::kInvalidArgument,
          "the attention spec names head {}, but there are {} (0 to {})", last, heads, heads - 1);
  }
}

std::vector<PatternPtr> HeadPatterns(const AttentionSpec& spec, std::int64_t layer,
                                     std::int64_t heads) {
  std::vector<PatternPtr> patterns;
  for (std::int64_t head = 0; head < heads; ++head) {
    patterns.push_back(spec.At(layer, head).pattern);
    if (patterns.back() == nullptr) {
      Throw(ErrorCode::kUnsupported, "{}: not a pattern of keys", ToText(spec));
    }
  }
  return patterns;
}

bool HasSelector(const LayerAttention& layer) {
  return std::any_of(layer.heads.begin(), layer.heads.end(),
                     [](const HeadAttention& use) { return use.selector != nullptr; });
}

std::vector<PatternPtr> SelectPatterns(Context& context, const LayerAttention& layer,
                                       const SelectionInput& in, SelectionStates* states) {
  std::vector<PatternPtr> patterns(in.heads);
  std::map<const Selector*, std::vector<PatternPtr>> chosen;
  for (std::int64_t head = 0; head < in.heads; ++head) {
    const HeadAttention& use = Find(layer.heads, &HeadAttention::heads, head, "head");
    patterns[head] = use.pattern;
    if (use.selector == nullptr) continue;
    std::vector<PatternPtr>& of_all = chosen[use.selector.get()];
    if (of_all.empty()) {
      Selector::State* state = nullptr;
      if (states != nullptr) {
        auto& own = (*states)[use.selector.get()];
        if (own == nullptr) own = use.selector->NewState();
        state = own.get();
      }
      of_all = use.selector->Select(context, in, state);
    }
    patterns[head] = of_all[head];
  }
  return patterns;
}

}  // namespace foveate
