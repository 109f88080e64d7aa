#include "mechanisms/top_scores.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "kernels/vector_ops.h"

namespace foveate {

namespace {

// Integers in the order of floats, and back.
std::int32_t Rank(float score) {
  const auto bits = std::bit_cast<std::int32_t>(score);
  return bits ^ (bits >> 31 & 0x7fffffff);
}
float ScoreOf(std::int32_t rank) { return std::bit_cast<float>(rank ^ (rank >> 31 & 0x7fffffff)); }

// The count-th largest, or a number below it that no score lies between. Halving the interval takes
// at most 32 passes that only count; an order among all scores takes several times as long.
float Threshold(const VectorOps& ops, std::span<const float> scores, std::int64_t count) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::int64_t least = Rank(-kInfinity), above = std::int64_t{Rank(kInfinity)} + 1;
  while (above - least > 1) {
    const auto middle = static_cast<std::int32_t>((least + above) / 2);
    const std::int64_t larger =
        ops.count_at_least(scores.data(), ScoreOf(middle), std::ssize(scores));
    if (larger == count) return ScoreOf(middle);
    (larger > count ? least : above) = middle;
  }
  return ScoreOf(static_cast<std::int32_t>(least));
}

}  // namespace

std::vector<std::int64_t> TopScores(Isa isa, std::span<const float> scores, std::int64_t count) {
  std::vector<std::int64_t> best(std::min<std::size_t>(count, scores.size()));
  if (best.size() == scores.size()) std::iota(best.begin(), best.end(), 0);
  if (best.empty() || best.size() == scores.size()) return best;
  const float least = Threshold(VectorOpsFor(isa), scores, count);
  std::int64_t larger = 0;
  for (std::int64_t i = 0; i < std::ssize(scores) && larger < count; ++i) {
    best[larger] = i;  // no branch on what cannot be foreseen
    larger += scores[i] > least ? 1 : 0;
  }
  std::int64_t found = larger;
  for (std::int64_t i = 0; found < count; ++i) {
    if (scores[i] == least) best[found++] = i;
  }
  if (larger < count) std::sort(best.begin(), best.end());
  return best;
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
