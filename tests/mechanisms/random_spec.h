// Legal parameters of any mechanism, drawn for a call of a given shape.
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "attention/pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::testing {

using nlohmann::json;

struct Draw {
  std::mt19937 random;
  std::int64_t operator()(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  }
};

inline const Param* FindParam(const Mechanism& mechanism, std::string_view key) {
  for (const Param& param : mechanism.params) {
    if (param.key == key) return &param;
  }
  return nullptr;
}

// A shape that the mechanism can serve at all.
inline AttentionShape RandomShape(const Mechanism& mechanism, Draw& draw) {
  if (FindParam(mechanism, "shape") != nullptr) {  // a grid of any number of keys, or its last rows
    const std::int64_t keys = draw(1, 300);
    return {draw(0, 1) == 0 ? keys : draw(1, keys), keys};
  }
  AttentionShape shape{draw(1, 150), draw(1, 200)};
  const bool needs_keys =
      FindParam(mechanism, "cu") != nullptr || FindParam(mechanism, "context") != nullptr;
  if (needs_keys && shape.queries > shape.keys) std::swap(shape.queries, shape.keys);
  return shape;
}

// `count` + 1 numbers from 0 to `length`, rising.
inline std::vector<std::int64_t> RandomEnds(Draw& draw, std::int64_t count, std::int64_t length,
                                            bool strictly) {
  std::vector<std::int64_t> ends = {0, length};
  while (std::ssize(ends) < count + 1) ends.push_back(draw(0, length));
  std::sort(ends.begin(), ends.end());
  if (strictly) ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return ends;
}

class SpecDraw {
 public:
  SpecDraw(const Mechanism& mechanism, const AttentionShape& shape, Draw& draw)
      : mechanism_(mechanism), shape_(shape), draw_(draw) {}

  // Nothing for a mechanism with a list that is not known here: its examples have to do.
  std::optional<json> operator()() {
    spec_["kind"] = std::string(mechanism_.name);
    documents_ = draw_(1, 7);
    for (const Param& param : mechanism_.params) {
      if (param.fallback == "none" && draw_(0, 1) == 0) continue;
      json value = Value(param);
      if (value.is_null()) return std::nullopt;
      spec_[std::string(param.key)] = std::move(value);
    }
    return spec_;
  }

 private:
  json Value(const Param& param) {
    switch (param.type) {
      case ParamType::kInteger: return Integer(param);
      case ParamType::kReal:
        return std::uniform_real_distribution(param.least, param.most)(draw_.random);
      case ParamType::kBool: return draw_(0, 1) == 1;
      case ParamType::kWord: return std::string(param.words[draw_(0, std::ssize(param.words) - 1)]);
      case ParamType::kAxes: return Axes(std::string(param.key));
      case ParamType::kList:
      case ParamType::kTuples: return List(std::string(param.key));
      case ParamType::kFile: break;
    }
    return {};
  }

  // Of a grid; every rule between its parameters holds, and their ends are drawn often.
  json Axes(const std::string& key) {
    if (key == "shape") return GridOf(shape_.keys);
    json list = json::array();
    for (std::size_t axis = 0; axis < spec_["shape"].size(); ++axis) {
      const std::int64_t length = spec_["shape"][axis];
      if (key == "window") {
        list.push_back(draw_(0, 4) == 0 ? length : draw_(1, length));
      } else if (key == "stride") {
        list.push_back(draw_(0, 2) == 0 ? 1 : draw_(1, spec_["window"][axis].get<std::int64_t>()));
      } else if (key == "dilation") {
        const std::int64_t most = length / spec_["window"][axis].get<std::int64_t>();
        list.push_back(draw_(0, 2) == 0 ? most : draw_(1, most));
      } else {
        list.push_back(draw_(0, 3) == 0 ? 1 : 0);
      }
    }
    return list;
  }

  // One to three axes with so many tokens.
  json GridOf(std::int64_t tokens) {
    json shape = json::array();
    for (std::int64_t axes = draw_(1, 3); axes > 1; --axes) {
      std::int64_t length = draw_(1, 20);
      while (tokens % length != 0) --length;
      shape.push_back(length);
      tokens /= length;
    }
    shape.push_back(tokens);
    return shape;
  }

  json Integer(const Param& param) {
    if (param.key == "prefix") return draw_(0, shape_.keys);
    if (param.key == "context") return shape_.keys - shape_.queries;
    const auto least = static_cast<std::int64_t>(param.least);
    const std::int64_t most = draw_(0, 4) == 0 ? 300 : 20;
    return draw_(least, std::min(least + most, static_cast<std::int64_t>(param.most)));
  }

  json List(const std::string& key) {
    const std::int64_t n = shape_.queries, m = shape_.keys;
    if (key == "cu" || key == "cu_k") return RandomEnds(draw_, documents_, m, false);
    if (key == "cu_q") return RandomEnds(draw_, documents_, n, false);
    if (key == "q_edges") return RandomEnds(draw_, documents_, n, true);
    if (key == "k_edges") return RandomEnds(draw_, documents_, m, true);
    json list = json::array();
    if (key == "prefixes") {
      for (std::size_t d = 0; d + 1 < spec_["cu"].size(); ++d) {
        list.push_back(
            draw_(0, spec_["cu"][d + 1].get<std::int64_t>() - spec_["cu"][d].get<std::int64_t>()));
      }
    } else if (key == "parents") {
      for (std::int64_t r = 0; r < n; ++r) {
        list.push_back(draw_(0, 2) > 0 ? r - 1 : draw_(-1, r - 1));
      }
    } else if (key == "masked_rows" || key == "masked_rows_2") {
      for (std::int64_t j = 0; j < m; ++j) {
        const auto ends = RandomEnds(draw_, 3, m, false);
        const bool again = j > 0 && draw_(0, 3) > 0;
        list.push_back(again ? list.back() : json{ends[1], ends[2]});
      }
    } else if (key == "slices") {
      for (std::int64_t s = draw_(1, 6); s > 0; --s) list.push_back(Slice());
    } else if (key == "tiles") {
      const auto [rows, keys] = Tiles();
      for (std::int64_t t = draw_(1, rows * keys); t > 0; --t) {
        list.push_back({draw_(0, rows - 1), draw_(0, keys - 1)});
      }
    }
    return list.empty() ? json() : list;
  }

  json Slice() {
    const auto rows = RandomEnds(draw_, 3, shape_.queries, false);
    const auto keys = RandomEnds(draw_, 3, shape_.keys, false);
    const char* const types[] = {"full", "causal", "invcausal", "bicausal"};
    return {rows[1], rows[2], keys[1], keys[2], types[draw_(0, 3)]};
  }

  std::pair<std::int64_t, std::int64_t> Tiles() const {
    if (spec_.contains("q_edges")) {
      return {std::ssize(spec_["q_edges"]) - 1, std::ssize(spec_["k_edges"]) - 1};
    }
    const std::int64_t bq = spec_["bq"], bk = spec_["bk"];
    return {(shape_.queries + bq - 1) / bq, (shape_.keys + bk - 1) / bk};
  }

  const Mechanism& mechanism_;
  AttentionShape shape_;
  Draw& draw_;
  json spec_;
  std::int64_t documents_ = 1;
};

}  // namespace foveate::testing
