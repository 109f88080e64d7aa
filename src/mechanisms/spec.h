// Attention specs: which mechanism each layer and head of a model uses, as people write it.
//
//   causal                                          a mechanism
//   window:left=1023,right=0                        with parameters
//   window:left=255,right=0 | dilated:dilation=64,count=32
//                                                   either of two patterns; & is both and binds
//                                                   tighter; parentheses group
//   0-2=full;3-=power:block=64                      by layer: inclusive ranges, each layer once
//   heads(0-3=full;4-=window:size=256)              by head, wherever a mechanism may stand
//   {"kind": "window", "left": 5, "right": 1}       the same as JSON; also {"and": [A, B]},
//                                                   {"or": [A, B]}, {"layers": {"0-2": A, "3-":
//                                                   B}},
//                                                   {"heads": {"0-3": A, "4-": B}}
//   @file.json                                      JSON from a file
//
//   AttentionSpec spec = ParseAttentionSpec("0-2=full;3-=power:block=64");
//   Schedule schedule(spec.At(layer, head).pattern, {.queries = 512, .keys = 4096});
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "attention/pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate {

struct SpecNode;
using SpecNodePtr = std::shared_ptr<const SpecNode>;

// A spec as it is written, without its layers.
struct SpecNode {
  enum class Kind { kMechanism, kAnd, kOr, kHeads };

  Kind kind = Kind::kMechanism;
  std::vector<Params> mechanism = {};      // one, of kMechanism
  std::vector<SpecNodePtr> children = {};  // of the others
  std::vector<Range> heads = {};           // of kHeads: the heads of each child, in order
};

inline constexpr std::int64_t kNoEnd = INT64_MAX;  // of a range that is open: 3-

// What some heads of some layers do.
struct HeadAttention {
  Range heads;
  SpecNodePtr node;    // a mechanism, or patterns that are combined
  PatternPtr pattern;  // null: a mechanism that is no pattern. The same for equal nodes of a spec.
  SelectorPtr selector;  // of a mechanism that chooses keys by content; likewise
};

struct LayerAttention {
  Range layers;
  SpecNodePtr node;
  std::vector<HeadAttention> heads;  // in order
};

class AttentionSpec {
 public:
  // Throws Error(kInvalidArgument) for ranges that overlap and mechanisms that cannot be combined.
  explicit AttentionSpec(std::vector<LayerAttention> layers);

  const std::vector<LayerAttention>& layers() const { return layers_; }  // in order

  // Throw Error(kInvalidArgument) if the spec says nothing of this layer or head.
  const LayerAttention& Layer(std::int64_t layer) const;
  const HeadAttention& At(std::int64_t layer, std::int64_t head) const;

 private:
  std::vector<LayerAttention> layers_;
};

// The patterns of heads 0 .. heads - 1 of a layer. Throws as At does, and Error(kUnsupported) for a
// mechanism that is not a pattern of keys.
std::vector<PatternPtr> HeadPatterns(const AttentionSpec& spec, std::int64_t layer,
                                     std::int64_t heads);

// The same where some heads may choose keys by content: those of `in`. `states`: of a layer whose
// cache grows from call to call; null: a call of its own.
using SelectionStates = std::map<const Selector*, std::unique_ptr<Selector::State>>;
std::vector<PatternPtr> SelectPatterns(Context& context, const LayerAttention& layer,
                                       const SelectionInput& in, SelectionStates* states = nullptr);

// Whether some heads do.
bool HasSelector(const LayerAttention& layer);

// Throws Error(kInvalidArgument) if it names heads beyond those that there are.
void CheckHeads(const LayerAttention& layer, std::int64_t heads);

enum class SpecFiles { kAllowed, kRefused };  // whether @file.json and parameters' files may be

// Throw Error(kInvalidArgument) saying what was found and expected, for unknown names the nearest
// ones; kNotFound or kIo for files; kLimit for specs that are larger than any sensible one.
AttentionSpec ParseAttentionSpec(std::string_view text, SpecFiles files = SpecFiles::kAllowed);
AttentionSpec ParseAttentionJson(std::string_view json, SpecFiles files = SpecFiles::kAllowed);

// Several specs joined by commas: a comma begins a new spec if the text up to the next one has no
// `=`, or a `:` before its `=`. Commas within brackets never do.
std::vector<AttentionSpec> ParseSpecList(std::string_view text,
                                         SpecFiles files = SpecFiles::kAllowed);

enum class SpecDetail {
  kAll,    // every parameter spelled out: equal specs have equal texts
  kShort,  // those at their defaults left out
};

// Canonical text and JSON: they parse to the same spec.
std::string ToText(const AttentionSpec& spec, SpecDetail detail = SpecDetail::kAll);
std::string ToText(const SpecNode& node, SpecDetail detail = SpecDetail::kAll);
std::string ToJson(const AttentionSpec& spec);

// "3", "0-2", "3-".
std::string RangeText(Range range);

}  // namespace foveate
