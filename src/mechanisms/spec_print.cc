// Specs back to text and JSON.
#include <nlohmann/json.hpp>

#include "mechanisms/spec.h"

namespace foveate {
namespace {

using Json = nlohmann::ordered_json;
using Kind = SpecNode::Kind;

bool IsFallback(const Mechanism& mechanism, const Param& param, const ParamValue& value) {
  return !param.fallback.empty() && ParamFromText(mechanism, param, param.fallback) == value;
}

std::string MechanismText(const Params& params, SpecDetail detail) {
  std::string text(params.mechanism().name);
  char separator = ':';
  for (const Param& param : params.mechanism().params) {
    if (!params.Has(param.key)) continue;
    const ParamValue& value = params.Value(param.key);
    if (detail == SpecDetail::kShort && IsFallback(params.mechanism(), param, value)) continue;
    text += separator + std::string(param.key) + '=' + ParamToText(param, value);
    separator = ',';
  }
  return text;
}

std::string HeadsText(const SpecNode& node, SpecDetail detail) {
  std::string text;
  for (std::size_t i = 0; i < node.heads.size(); ++i) {
    text += (i > 0 ? ";" : "") + RangeText(node.heads[i]) + '=' + ToText(*node.children[i], detail);
  }
  return "heads(" + text + ")";
}

Json TupleJson(const Param& param, const IntegerList& list, std::size_t begin) {
  Json tuple = Json::array();
  for (int member = 0; member < param.arity; ++member) {
    const std::int64_t number = list[begin + member];
    if (member == param.arity - 1 && !param.words.empty()) {
      tuple.push_back(std::string(param.words[number]));
    } else {
      tuple.push_back(number);
    }
  }
  return tuple;
}

Json ValueJson(const Param& param, const ParamValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean;
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  const auto& list = std::get<IntegerList>(value);
  if (param.type != ParamType::kTuples) return list;
  Json tuples = Json::array();
  for (std::size_t t = 0; t < list.size(); t += param.arity) {
    tuples.push_back(TupleJson(param, list, t));
  }
  return tuples;
}

Json NodeJson(const SpecNode& node) {
  Json object = Json::object();
  if (node.kind == Kind::kMechanism) {
    const Params& params = node.mechanism.front();
    object["kind"] = std::string(params.mechanism().name);
    for (const Param& param : params.mechanism().params) {
      if (!params.Has(param.key)) continue;
      object[std::string(param.key)] = ValueJson(param, params.Value(param.key));
    }
  } else if (node.kind == Kind::kHeads) {
    for (std::size_t i = 0; i < node.heads.size(); ++i) {
      object["heads"][RangeText(node.heads[i])] = NodeJson(*node.children[i]);
    }
  } else {
    Json& list = object[node.kind == Kind::kAnd ? "and" : "or"];
    for (const SpecNodePtr& child : node.children) list.push_back(NodeJson(*child));
  }
  return object;
}

// One entry for all layers: nothing was said of layers.
bool ForAllLayers(const AttentionSpec& spec) {
  return spec.layers().size() == 1 && spec.layers().front().layers == Range{0, kNoEnd};
}

}  // namespace

std::string RangeText(Range range) {
  std::string text = std::to_string(range.begin);
  if (range.end == kNoEnd) return text + "-";
  if (range.size() > 1) text += "-" + std::to_string(range.end - 1);
  return text;
}

std::string ToText(const SpecNode& node, SpecDetail detail) {
  if (node.kind == Kind::kMechanism) return MechanismText(node.mechanism.front(), detail);
  if (node.kind == Kind::kHeads) return HeadsText(node, detail);
  std::string text;
  for (const SpecNodePtr& child : node.children) {
    if (!text.empty()) text += node.kind == Kind::kAnd ? " & " : " | ";
    const bool brackets = node.kind == Kind::kAnd && child->kind == Kind::kOr;
    text += brackets ? "(" + ToText(*child, detail) + ")" : ToText(*child, detail);
  }
  return text;
}

std::string ToText(const AttentionSpec& spec, SpecDetail detail) {
  if (ForAllLayers(spec)) return ToText(*spec.layers().front().node, detail);
  std::string text;
  for (const LayerAttention& layer : spec.layers()) {
    text += (text.empty() ? "" : ";") + RangeText(layer.layers) + '=' + ToText(*layer.node, detail);
  }
  return text;
}

std::string ToJson(const AttentionSpec& spec) {
  if (ForAllLayers(spec)) return NodeJson(*spec.layers().front().node).dump();
  Json object;
  for (const LayerAttention& layer : spec.layers()) {
    object["layers"][RangeText(layer.layers)] = NodeJson(*layer.node);
  }
  return object.dump();
}

}  // namespace foveate
