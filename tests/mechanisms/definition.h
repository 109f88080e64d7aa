// The masks once more, from their definitions and nothing else: no runs, no tiles, no pattern.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace foveate::testing {

using nlohmann::json;

class Definition {
 public:
  // `spec`: the JSON form, every parameter given; a call of N queries and M keys.
  Definition(const json& spec, std::int64_t n, std::int64_t m)
      : spec_(spec), kind_(spec["kind"]), n_(n), m_(m) {}

  bool operator()(std::int64_t r, std::int64_t j) const {
    const std::int64_t i = m_ - n_ + r;
    if (kind_ == "full") return true;
    if (kind_ == "causal") return j <= i;
    if (kind_ == "window") return Behind(i, j) && (Get("right") < 0 || j - i <= Get("right"));
    if (kind_ == "sink_window") return j <= i && (j < Get("sink") || i - j <= Get("left"));
    if (kind_ == "dilated") {
      return j <= i && (i - j) % Get("dilation") == 0 && (i - j) / Get("dilation") < Get("count");
    }
    if (kind_ == "stride_slash") {
      return j <= i && (i - j < Get("window") || (i - j) % Get("stride") == 0 || j < Get("sink"));
    }
    if (kind_ == "prefix_lm") return j <= i || j < Get("prefix");
    if (kind_ == "global_window") {
      return std::abs(i - j) <= Get("left") || i < Get("global") || j < Get("global");
    }
    if (kind_ == "block_causal") return Floor(j, Get("block")) <= Floor(i, Get("block"));
    if (kind_ == "power") return Power(i, j);
    if (kind_ == "neighborhood") return Neighborhood(i, j);
    if (kind_ == "tree") return Tree(r, j);
    if (kind_ == "slices") return Slices(r, j);
    if (kind_ == "block_sparse" || kind_ == "var_block_sparse") return Tiles(r, i, j);
    if (kind_ == "column_ranges") {
      return (!spec_["causal"] || j <= i) && !Masked("masked_rows", i, j) &&
             !Masked("masked_rows_2", i, j);
    }
    return spec_.contains("cu") ? KeyDocuments(i, j) : RowDocuments(r, j);
  }

  bool known() const {
    static const std::vector<std::string> kKinds = {"full",
                                                    "causal",
                                                    "window",
                                                    "sink_window",
                                                    "dilated",
                                                    "stride_slash",
                                                    "document",
                                                    "document_causal",
                                                    "document_window",
                                                    "prefix_lm",
                                                    "prefix_lm_document",
                                                    "share_question",
                                                    "causal_blockwise",
                                                    "global_window",
                                                    "block_causal",
                                                    "block_causal_document",
                                                    "block_sparse",
                                                    "var_block_sparse",
                                                    "tree",
                                                    "column_ranges",
                                                    "slices",
                                                    "power",
                                                    "neighborhood"};
    return std::find(kKinds.begin(), kKinds.end(), kind_) != kKinds.end();
  }

 private:
  std::int64_t Get(const char* key) const { return spec_[key]; }

  static std::int64_t Floor(std::int64_t a, std::int64_t b) {
    return a / b - (a % b != 0 && a < 0);
  }

  bool Behind(std::int64_t i, std::int64_t j) const {
    return Get("left") < 0 || i - j <= Get("left");
  }

  std::int64_t DocumentOf(const char* key, std::int64_t index) const {
    std::int64_t document = 0;
    while (index >= spec_[key][document + 1]) ++document;
    return document;
  }

  bool KeyDocuments(std::int64_t i, std::int64_t j) const {
    const std::int64_t of_i = DocumentOf("cu", i), of_j = DocumentOf("cu", j);
    const std::int64_t start = spec_["cu"][of_i];
    const std::int64_t last = std::ssize(spec_["cu"]) - 2;
    const bool same = of_i == of_j;
    if (kind_ == "share_question") return (same && j <= i) || (of_j == 0 && of_i != 0);
    if (kind_ == "causal_blockwise") return (same && j <= i) || (of_i == last && of_j != last);
    if (kind_ == "prefix_lm_document") {
      return same && (j <= i || j - start < spec_["prefixes"][of_j]);
    }
    return same && (j - start) / Get("block") <= (i - start) / Get("block");
  }

  bool RowDocuments(std::int64_t r, std::int64_t j) const {
    const std::int64_t document = DocumentOf("cu_q", r);
    if (document != DocumentOf("cu_k", j)) return false;
    const std::int64_t end_k = spec_["cu_k"][document + 1], end_q = spec_["cu_q"][document + 1];
    const std::int64_t i = r + end_k - end_q;
    if (kind_ == "document") return true;
    return j <= i && (kind_ == "document_causal" || i - j <= Get("left"));
  }

  bool Power(std::int64_t i, std::int64_t j) const {
    const std::int64_t block = Get("block");
    if (j > i) return false;
    const std::int64_t delta = Floor(i, block) - Floor(j, block);
    return j < Get("sink_blocks") * block || delta < Get("window_blocks") ||
           (delta & (delta - 1)) == 0;
  }

  // Of a list of one number for every axis, or of one for all.
  std::int64_t OfAxis(const char* key, std::size_t axis) const {
    const json& list = spec_[key];
    return list.size() == 1 ? list[0] : list[axis];
  }

  bool Neighborhood(std::int64_t i, std::int64_t j) const {
    for (std::size_t axis = spec_["shape"].size(); axis-- > 0;) {
      const std::int64_t length = spec_["shape"][axis];
      if (!SeesOnAxis(axis, length, i % length, j % length)) return false;
      i /= length;
      j /= length;
    }
    return true;
  }

  bool SeesOnAxis(std::size_t axis, std::int64_t length, std::int64_t x, std::int64_t y) const {
    const std::int64_t w = OfAxis("window", axis), s = OfAxis("stride", axis);
    const std::int64_t d = OfAxis("dilation", axis);
    if (x % d != y % d) return false;
    const std::int64_t a = x / d, b = y / d;
    std::int64_t members = 0;
    for (std::int64_t z = x % d; z < length; z += d) ++members;
    if (OfAxis("causal", axis) != 0) {
      const std::int64_t leader = std::min(a - a % s + s - 1, members - 1);
      return b <= a && b > leader - w;
    }
    const std::int64_t leader = std::min(a - a % s + s / 2, members - 1);
    std::int64_t start = leader - w / 2;
    if (start + w > members) start = members - w;
    if (start < 0) start = 0;
    return start <= b && b < start + w;
  }

  bool Tree(std::int64_t r, std::int64_t j) const {
    if (j < Get("context")) return true;
    std::int64_t node = r;
    while (node >= 0 && node != j - Get("context")) node = spec_["parents"][node];
    return node >= 0;
  }

  bool Slices(std::int64_t r, std::int64_t j) const {
    for (const json& slice : spec_["slices"]) {
      const std::int64_t q0 = slice[0], q1 = slice[1], k0 = slice[2], k1 = slice[3], d = j - r;
      const std::string type = slice[4];
      if (r < q0 || r >= q1 || j < k0 || j >= k1) continue;
      if ((type == "causal" || type == "bicausal") && d > k1 - q1) continue;
      if ((type == "invcausal" || type == "bicausal") && d < k0 - q0) continue;
      return true;
    }
    return false;
  }

  bool Tiles(std::int64_t r, std::int64_t i, std::int64_t j) const {
    for (const json& tile : spec_["tiles"]) {
      if (kind_ == "block_sparse") {
        if (r / Get("bq") == tile[0] && j / Get("bk") == tile[1]) return !spec_["causal"] || j <= i;
        continue;
      }
      const std::size_t a = tile[0], b = tile[1];
      if (spec_["q_edges"][a] <= r && r < spec_["q_edges"][a + 1] && spec_["k_edges"][b] <= j &&
          j < spec_["k_edges"][b + 1]) {
        return true;
      }
    }
    return false;
  }

  bool Masked(const char* key, std::int64_t i, std::int64_t j) const {
    return spec_.contains(key) && spec_[key][j][0] <= i && i < spec_[key][j][1];
  }

  json spec_;
  std::string kind_;
  std::int64_t n_;
  std::int64_t m_;
};

}  // namespace foveate::testing
