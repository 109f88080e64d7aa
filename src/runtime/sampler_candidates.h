// The tokens still in the running and their logits, as the stages of a sampler chain see them.
//
// It starts with every token of a row of logits, which is not copied until a stage changes one.
// Candidates stay in the order of their ids, so a draw depends on the surviving set alone and not
// on how a selection was made. Ranking: larger logit first, lower id among equals. Nothing is
// allocated once the buffers have grown to the vocabulary's size.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace foveate {

struct Candidate {
  TokenId id;
  float logit;

  bool RanksBefore(const Candidate& other) const {
    return logit != other.logit ? logit > other.logit : id < other.id;
  }
};

class Candidates {
 public:
  // Every id below logits.size(); the span must stay valid. Throws Error(kNumerical) for NaN or
  // +inf.
  void Reset(std::span<const float> logits);

  std::int64_t size() const { return std::ssize(logits_); }
  TokenId id(std::int64_t i) const { return all_ids_ ? static_cast<TokenId>(i) : ids_[i]; }
  std::span<const float> logits() const { return logits_; }
  // -inf if every candidate is banned.
  float MaxLogit() const;
  // The first in rank.
  Candidate Best() const;
  // The `count` first in rank, in order, into `best` (fewer if there are fewer).
  void TopRanked(std::int64_t count, std::vector<Candidate>& best);
  // log(sum(exp(logit))); at least one logit must be finite.
  double LogNormalizer() const;
  // exp(logit - MaxLogit()) of every candidate; valid until the next call.
  std::span<const float> Weights();

  // logit = change(logit) for the candidate `id`, if it is among them. Do not raise past FLT_MAX.
  template <typename Change>
  void Adjust(TokenId id, Change change) {
    const std::int64_t i = IndexOf(id);
    if (i < 0) return;
    Own();
    owned_[i] = change(owned_[i]);
    RefreshBlock(i);
  }
  // logit = logit / divisor for all; divisor > 0.
  void Divide(float divisor);

  // Keeps the candidates at which `keep(index)` holds: at least one.
  template <typename Keep>
  void KeepIf(Keep keep);
  // The `count` first in rank; count >= 1.
  void KeepTop(std::int64_t count);
  // Logits >= threshold, or the `min_keep` first in rank if these are more; min_keep >= 1.
  void KeepAtLeast(double threshold, std::int64_t min_keep);

  // What a selection by cumulative probability sorts by: smaller key first, lower id among equals.
  struct Ranked {
    float key;
    float weight;
    TokenId id;

    bool RanksBefore(const Ranked& other) const {
      return key != other.key ? key < other.key : id < other.id;
    }
  };
  // Keeps the shortest prefix, in the order of rank(index).key, whose sum of weights reaches `mass`
  // (exceeds it, if `strictly`), but at least `min_keep` >= 1.
  template <typename Key>
  void KeepMass(std::span<const float> weights, double mass, bool strictly, std::int64_t min_keep,
                Key key);

 private:
  std::int64_t IndexOf(TokenId id) const;
  void Own();
  void RefreshBlock(std::int64_t index);
  void CollectAtLeast(float threshold, std::vector<Candidate>& collected) const;
  float BlockThreshold(std::int64_t count);

  // KeepMass first sorts into buckets of equal width in the key (nats), the last one open, to find
  // the one in which the prefix ends; only that one needs a selection.
  struct Bucket {
    double weight = 0;
    std::int64_t count = 0;
  };
  struct Prefix {
    double mass;  // to be reached, or exceeded if `strictly`
    bool strictly;
    std::int64_t min_keep;
    bool Reached(const Bucket& kept) const {
      const bool enough = strictly ? kept.weight > mass : kept.weight >= mass;
      return enough && kept.count >= min_keep;
    }
  };
  static constexpr std::int64_t kBuckets = 1024;
  static constexpr float kBucketsPerNat = 32;
  static std::int64_t BucketOf(float distance) {
    return static_cast<std::int64_t>(std::min<float>(distance * kBucketsPerNat, kBuckets - 1));
  }
  // The bucket in which the prefix ends, and what the ones before it hold; kBuckets if it never
  // does.
  std::int64_t EndBucket(const Prefix& prefix, Bucket& before) const;
  // The last of the prefix among ranked_, which it reorders.
  Ranked Cutoff(const Prefix& prefix, Bucket before);

  std::span<const float> logits_;  // of the current candidates: the caller's row or owned_
  bool all_ids_ = true;            // candidate i is token i, and block_maxima_ is up to date
  std::vector<TokenId> ids_;
  std::vector<float> owned_;
  std::vector<float> block_maxima_;
  std::vector<float> weights_;
  std::vector<float> float_scratch_;
  std::vector<Candidate> scratch_;
  std::vector<Ranked> ranked_;
  std::vector<Bucket> buckets_;
};

template <typename Keep>
void Candidates::KeepIf(Keep keep) {
  const std::int64_t n = size();
  const bool owned = logits_.data() == owned_.data();
  if (!owned) owned_.resize(n);
  if (all_ids_) ids_.resize(n);
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!keep(i)) continue;
    ids_[kept] = id(i);
    owned_[kept++] = logits_[i];
  }
  logits_ = std::span<const float>(owned_).first(kept);
  all_ids_ = false;
}

template <typename Key>
void Candidates::KeepMass(std::span<const float> weights, double mass, bool strictly,
                          std::int64_t min_keep, Key key) {
  const std::int64_t n = size();
  if (min_keep >= n) return;
  float nearest = std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) nearest = std::min(nearest, key(i));
  buckets_.assign(kBuckets, {});
  for (std::int64_t i = 0; i < n; ++i) {
    Bucket& bucket = buckets_[BucketOf(key(i) - nearest)];
    bucket.weight += weights[i];
    ++bucket.count;
  }
  const Prefix prefix = {mass, strictly, min_keep};
  Bucket before;
  const std::int64_t end = EndBucket(prefix, before);
  if (end == kBuckets) return;
  ranked_.clear();
  for (std::int64_t i = 0; i < n; ++i) {
    if (BucketOf(key(i) - nearest) == end) ranked_.push_back({key(i), weights[i], id(i)});
  }
  const Ranked last = Cutoff(prefix, before);
  KeepIf([&](std::int64_t i) { return !last.RanksBefore({key(i), weights[i], id(i)}); });
}

}  // namespace foveate
