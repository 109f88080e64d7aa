#include "mechanisms/chunk_bounds.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace foveate {

std::vector<std::int64_t> PickBounds(std::span<const double> scores, const CutRule& rule) {
  const auto keys = std::ssize(scores);
  std::vector<std::int64_t> candidates;
  for (std::int64_t t = 0; t < keys; ++t) {
    if (!std::isnan(scores[t]) && (!rule.least || scores[t] > *rule.least)) candidates.push_back(t);
  }
  if (candidates.empty()) return {0, keys};
  std::sort(candidates.begin(), candidates.end(), [&](std::int64_t a, std::int64_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  std::set<std::int64_t> accepted;
  const std::int64_t forced = keys - rule.instructions;
  const bool has_forced = rule.instructions > 0 && forced > 0;
  if (has_forced) accepted.insert(forced);
  for (const std::int64_t t : candidates) {
    if (std::ssize(accepted) >= rule.most) break;
    if (has_forced && t > forced) continue;
    const auto next = accepted.lower_bound(t);
    if (next != accepted.end() && *next - t <= rule.distance) continue;
    if (next != accepted.begin() && t - *std::prev(next) <= rule.distance) continue;
    accepted.insert(t);
  }
  std::set<std::int64_t> bounds = {0, keys};
  for (const std::int64_t t : accepted) bounds.insert(std::min(t + 1, keys));
  return {bounds.begin(), bounds.end()};
}

std::vector<std::int64_t> UniformBounds(std::int64_t keys, std::int64_t size) {
  std::vector<std::int64_t> bounds;
  for (std::int64_t key = 0; key < keys; key += size) bounds.push_back(key);
  bounds.push_back(keys);
  return bounds;
}

}  // namespace foveate
