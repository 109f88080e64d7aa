// What the text and the JSON form of a spec have in common. Internal to the room.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "mechanisms/spec.h"

namespace foveate {

inline constexpr std::size_t kMostSpecBytes = std::size_t{64} << 20;
inline constexpr int kMostSpecDepth = 32;
inline constexpr std::size_t kMostSpecTerms = 1000;  // mechanisms, and ranges of layers or heads

// "3", "0-2", "3-"; throws Error(kInvalidArgument). `what`: "layers" or "heads".
Range ParseIndexRange(std::string_view text, std::string_view what);

using RangedNodes = std::vector<std::pair<Range, SpecNodePtr>>;

// Brings them in order. Throws Error(kInvalidArgument) if one index is given twice.
RangedNodes InOrder(RangedNodes nodes, std::string_view what);

SpecNodePtr HeadsNode(RangedNodes nodes);
SpecNodePtr CombinedNode(SpecNode::Kind kind, std::vector<SpecNodePtr> children);
AttentionSpec SpecOf(RangedNodes layers);

// Throws Error(kInvalidArgument) where files are refused.
void CheckFile(std::string_view path, SpecFiles files);

// Collects the parameters of one use of a mechanism, from either form.
class MechanismReader {
 public:
  MechanismReader(std::string_view name, SpecFiles files);

  // The declaration of a key; throws Error(kInvalidArgument) with the nearest keys.
  const Param& Find(std::string_view key) const;

  // Takes the value of a key that Find knows; nothing if the value is none. Throws as CheckFile
  // does for a file.
  void Set(std::string_view key, const ParamValue& value);

  const Mechanism& mechanism() const { return params_.mechanism(); }
  SpecNodePtr Finish();

 private:
  const Shorthand* FindShorthand(std::string_view key) const;

  Params params_;
  SpecFiles files_;
};

}  // namespace foveate
