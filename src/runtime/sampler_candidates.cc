#include "runtime/sampler_candidates.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "runtime/sampler_weights.h"

namespace foveate {
namespace {

constexpr auto kByRank = [](const auto& a, const auto& b) { return a.RanksBefore(b); };

}  // namespace

void Candidates::Reset(std::span<const float> logits) {
  logits_ = logits;
  all_ids_ = true;
  BlockMaxima(logits, block_maxima_);
}

float Candidates::MaxLogit() const {
  const std::span<const float> values = all_ids_ ? std::span<const float>(block_maxima_) : logits_;
  float max = -std::numeric_limits<float>::infinity();
  for (const float value : values) max = std::max(max, value);
  return max;
}

Candidate Candidates::Best() const {
  std::int64_t begin = 0;
  if (all_ids_) {
    begin = (std::max_element(block_maxima_.begin(), block_maxima_.end()) - block_maxima_.begin()) *
            kSamplerBlock;
  }
  const std::int64_t end = all_ids_ ? std::min(size(), begin + kSamplerBlock) : size();
  const std::int64_t best =
      std::max_element(logits_.begin() + begin, logits_.begin() + end) - logits_.begin();
  return {id(best), logits_[best]};
}

void Candidates::TopRanked(std::int64_t count, std::vector<Candidate>& best) {
  count = std::min(count, size());
  CollectAtLeast(BlockThreshold(count), best);
  if (count < std::ssize(best)) {
    std::nth_element(best.begin(), best.begin() + count, best.end(), kByRank);
    best.resize(count);
  }
  std::sort(best.begin(), best.end(), kByRank);
}

double Candidates::LogNormalizer() const { return LogSumExp(logits_, MaxLogit()); }

std::span<const float> Candidates::Weights() {
  weights_.resize(size());
  ShiftedExp(logits_, MaxLogit(), weights_);
  return weights_;
}

void Candidates::Divide(float divisor) {
  Own();
  const auto scale = [divisor](float logit) {
    // Infinities would have no difference; -inf, which bans a token, stays.
    constexpr float kLimit = std::numeric_limits<float>::max();
    const float scaled = logit / divisor;
    if (logit < -kLimit) return logit;
    return std::clamp(scaled, -kLimit, kLimit);
  };
  std::transform(owned_.begin(), owned_.begin() + size(), owned_.begin(), scale);
  if (all_ids_) {
    std::transform(block_maxima_.begin(), block_maxima_.end(), block_maxima_.begin(), scale);
  }
}

void Candidates::KeepTop(std::int64_t count) {
  if (count >= size()) return;
  if (all_ids_) {
    CollectAtLeast(BlockThreshold(count), scratch_);
    ids_.resize(scratch_.size());
    owned_.resize(scratch_.size());
    for (std::size_t i = 0; i < scratch_.size(); ++i) {
      ids_[i] = scratch_[i].id;
      owned_[i] = scratch_[i].logit;
    }
    logits_ = owned_;
    all_ids_ = false;
  } else {
    scratch_.resize(size());
    for (std::int64_t i = 0; i < size(); ++i) scratch_[i] = {ids_[i], logits_[i]};
  }
  if (count >= size()) return;
  std::nth_element(scratch_.begin(), scratch_.begin() + (count - 1), scratch_.end(), kByRank);
  const Candidate last = scratch_[count - 1];
  KeepIf([&](std::int64_t i) { return !last.RanksBefore({ids_[i], logits_[i]}); });
}

void Candidates::KeepAtLeast(double threshold, std::int64_t min_keep) {
  const auto reaches = [&](std::int64_t i) { return logits_[i] >= threshold; };
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size() && count < min_keep; ++i) count += reaches(i);
  if (count < min_keep) return KeepTop(min_keep);
  KeepIf(reaches);
}

std::int64_t Candidates::IndexOf(TokenId id) const {
  if (all_ids_) return id >= 0 && id < size() ? id : -1;
  const auto end = ids_.begin() + size();
  const auto found = std::lower_bound(ids_.begin(), end, id);
  return found != end && *found == id ? found - ids_.begin() : -1;
}

void Candidates::Own() {
  if (!owned_.empty() && logits_.data() == owned_.data()) return;
  owned_.assign(logits_.begin(), logits_.end());
  logits_ = owned_;
}

void Candidates::RefreshBlock(std::int64_t index) {
  if (!all_ids_) return;
  const std::int64_t block = index / kSamplerBlock;
  const auto begin = logits_.begin() + block * kSamplerBlock;
  const auto end = logits_.begin() + std::min(size(), (block + 1) * kSamplerBlock);
  block_maxima_[block] = *std::max_element(begin, end);
}

// A logit that at least `count` candidates reach: with as many blocks as that, the count-th largest
// of the blocks' maxima is one, and nearly all blocks lie below it.
float Candidates::BlockThreshold(std::int64_t count) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  if (!all_ids_ || count < 1 || count > std::ssize(block_maxima_)) return kLowest;
  float_scratch_ = block_maxima_;
  const auto nth = float_scratch_.begin() + (count - 1);
  std::nth_element(float_scratch_.begin(), nth, float_scratch_.end(), std::greater<>());
  return *nth;
}

void Candidates::CollectAtLeast(float threshold, std::vector<Candidate>& collected) const {
  collected.clear();
  for (std::int64_t begin = 0; begin < size(); begin += kSamplerBlock) {
    if (all_ids_ && block_maxima_[begin / kSamplerBlock] < threshold) continue;
    const std::int64_t end = std::min(size(), begin + kSamplerBlock);
    for (std::int64_t i = begin; i < end; ++i) {
      if (logits_[i] >= threshold) collected.push_back({id(i), logits_[i]});
    }
  }
}

std::int64_t Candidates::EndBucket(const Prefix& prefix, Bucket& before) const {
  for (std::int64_t i = 0; i < kBuckets; ++i) {
    const Bucket with = {before.weight + buckets_[i].weight, before.count + buckets_[i].count};
    if (with.count > 0 && prefix.Reached(with)) return i;
    before = with;
  }
  return kBuckets;
}

// Quickselect by weight: each round settles on which side of the median the prefix ends, so the
// work is linear even where many candidates share a bucket.
Candidates::Ranked Candidates::Cutoff(const Prefix& prefix, Bucket before) {
  constexpr std::int64_t kSortBelow = 32;
  const auto begin = ranked_.begin();
  std::int64_t first = 0;  // the prefix ends in [first, last); `before` is all before first
  std::int64_t last = std::ssize(ranked_);
  while (last - first > kSortBelow) {
    const std::int64_t middle = first + (last - first) / 2;
    std::nth_element(begin + first, begin + middle, begin + last, kByRank);
    Bucket upper = {before.weight, before.count + (middle - first)};
    for (std::int64_t i = first; i < middle; ++i) upper.weight += ranked_[i].weight;
    if (prefix.Reached(upper)) {
      last = middle;
    } else {
      first = middle;
      before = upper;
    }
  }
  std::sort(begin + first, begin + last, kByRank);
  for (; first + 1 < last; ++first) {
    before = {before.weight + ranked_[first].weight, before.count + 1};
    if (prefix.Reached(before)) break;
  }
  return ranked_[first];
}

}  // namespace foveate
