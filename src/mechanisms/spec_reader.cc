#include "mechanisms/spec_reader.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/throw.h"
#include "format/printable.h"
#include "mechanisms/nearest.h"
#include "mechanisms/registry.h"

namespace foveate {
namespace {

constexpr std::int64_t kMostIndex = 1'000'000;  // of a layer or head

std::optional<std::int64_t> ParseIndex(std::string_view text) {
  std::int64_t index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (index < 0 || index > kMostIndex) return std::nullopt;
  return index;
}

}  // namespace

Range ParseIndexRange(std::string_view text, std::string_view what) {
  const std::size_t dash = text.find('-');
  const std::optional<std::int64_t> first = ParseIndex(text.substr(0, dash));
  if (first && dash == std::string_view::npos) return {*first, *first + 1};
  if (first && dash + 1 == text.size()) return {*first, kNoEnd};
  const std::optional<std::int64_t> last = first ? ParseIndex(text.substr(dash + 1)) : std::nullopt;
  if (!last || *last < *first) {
    Throw(ErrorCode::kInvalidArgument, "'{}' is no range of {}, expected one like 3, 0-2 or 3-",
          Printable(text), what);
  }
  return {*first, *last + 1};
}

RangedNodes InOrder(RangedNodes nodes, std::string_view what) {
  if (nodes.size() > kMostSpecTerms) {
    Throw(ErrorCode::kLimit, "a spec with {} ranges of {}, at most {} are read", nodes.size(), what,
          kMostSpecTerms);
  }
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    if (nodes[i].first.begin < nodes[i - 1].first.end) {
      Throw(ErrorCode::kInvalidArgument, "{} {} and {} overlap", what,
            RangeText(nodes[i - 1].first), RangeText(nodes[i].first));
    }
  }
  return nodes;
}

SpecNodePtr HeadsNode(RangedNodes nodes) {
  auto node = std::make_shared<SpecNode>(SpecNode{.kind = SpecNode::Kind::kHeads});
  for (auto& [heads, child] : InOrder(std::move(nodes), "heads")) {
    node->heads.push_back(heads);
    node->children.push_back(child);
  }
  return node;
}

SpecNodePtr CombinedNode(SpecNode::Kind kind, std::vector<SpecNodePtr> children) {
  if (children.size() == 1) return children.front();
  // (a & b) & c is a & b & c.
  auto node = std::make_shared<SpecNode>(SpecNode{.kind = kind});
  for (SpecNodePtr& child : children) {
    if (child->kind == kind) {
      node->children.insert(node->children.end(), child->children.begin(), child->children.end());
    } else {
      node->children.push_back(std::move(child));
    }
  }
  return node;
}

AttentionSpec SpecOf(RangedNodes layers) {
  std::vector<LayerAttention> ordered;
  for (auto& [range, node] : InOrder(std::move(layers), "layers")) {
    ordered.push_back({range, node, {}});
  }
  return AttentionSpec(std::move(ordered));
}

void CheckFile(std::string_view path, SpecFiles files) {
  if (files == SpecFiles::kAllowed) return;
  Throw(ErrorCode::kInvalidArgument, "attention spec: files are not read here, but it names '{}'",
        Printable(path));
}

MechanismReader::MechanismReader(std::string_view name, SpecFiles files)
    : params_(FindMechanism(name)), files_(files) {}

const Shorthand* MechanismReader::FindShorthand(std::string_view key) const {
  for (const Shorthand& shorthand : mechanism().shorthands) {
    if (shorthand.param.key == key) return &shorthand;
  }
  return nullptr;
}

const Param& MechanismReader::Find(std::string_view key) const {
  std::vector<std::string_view> keys;
  for (const Param& param : mechanism().params) {
    if (param.key == key) return param;
    keys.push_back(param.key);
  }
  if (const Shorthand* shorthand = FindShorthand(key)) return shorthand->param;
  for (const Shorthand& shorthand : mechanism().shorthands) keys.push_back(shorthand.param.key);
  if (keys.empty()) {
    Throw(ErrorCode::kInvalidArgument, "{} takes no parameters, but {} is given", mechanism().name,
          Printable(key));
  }
  Throw(ErrorCode::kInvalidArgument, "{} has no parameter '{}'; the nearest are {}",
        mechanism().name, Printable(key), NearestNames(key, keys));
}

void MechanismReader::Set(std::string_view key, const ParamValue& value) {
  if (std::holds_alternative<std::monostate>(value)) return;
  if (Find(key).type == ParamType::kFile) CheckFile(std::get<std::string>(value), files_);
  if (const Shorthand* shorthand = FindShorthand(key)) {
    shorthand->expand(value, params_);
  } else {
    params_.Set(key, value);
  }
}

SpecNodePtr MechanismReader::Finish() {
  params_.Complete();
  return std::make_shared<SpecNode>(
      SpecNode{.kind = SpecNode::Kind::kMechanism, .mechanism = {std::move(params_)}});
}

}  // namespace foveate
