#include "mechanisms/top_scores.h"

#include <algorithm>
#include <numeric>

namespace foveate {

std::vector<std::int64_t> TopScores(std::span<const float> scores, std::int64_t count) {
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  if (count < std::ssize(order)) {
    std::nth_element(order.begin(), order.begin() + count, order.end(),
                     [&](std::int64_t a, std::int64_t b) {
                       return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
                     });
    order.resize(count);
    std::sort(order.begin(), order.end());
  }
  return order;
}

std::vector<Param> WithKeptParams(std::vector<Param> own) {
  own.push_back(
      {.key = "local", .help = "last keys, always kept, the own among them", .fallback = "32"});
  own.push_back({.key = "sink", .help = "first keys, always kept", .fallback = "4"});
  own.push_back({.key = "dense_layers",
                 .help = "first layers of a model that stay as they are",
                 .fallback = "1"});
  return own;
}

std::vector<float> MeanQuery(const SelectionInput& in, std::int64_t kv_head, std::int64_t row) {
  std::vector<float> mean(in.dim), query(in.dim);
  for (std::int64_t head = kv_head * in.group(); head < (kv_head + 1) * in.group(); ++head) {
    in.Query(head, row, query.data());
    for (std::int64_t d = 0; d < in.dim; ++d) mean[d] += query[d];
  }
  for (float& value : mean) value /= static_cast<float>(in.group());
  return mean;
}

}  // namespace foveate
