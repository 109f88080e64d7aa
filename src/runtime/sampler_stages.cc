#include "runtime/sampler_stages.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/sampler_weights.h"

namespace foveate {
namespace {

constexpr double kBannedBias = -100;
// Dividing by less would overflow for ordinary logits; such a temperature means "the best one".
constexpr double kLowestTemperature = 1e-30;

// The nearest finite float: only a ban makes a logit infinite.
float Finite(double logit) {
  constexpr double kLimit = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(logit, -kLimit, kLimit));
}

// -sum(p log p) with p = weight / total and weight = exp(logit - max).
double Entropy(std::span<const float> logits, std::span<const float> weights, double max,
               double total) {
  double weighted = 0;
  for (std::int64_t i = 0; i < std::ssize(logits); ++i) {
    if (weights[i] > 0) weighted += weights[i] * (logits[i] - max);
  }
  return std::log(total) - weighted / total;
}

}  // namespace

void ApplyLogitBias(Candidates& candidates, std::span<const LogitBias> biases) {
  for (const LogitBias& entry : biases) {
    const double bias = entry.second;
    candidates.Adjust(entry.first, [bias](float logit) {
      if (bias <= kBannedBias) return -std::numeric_limits<float>::infinity();
      return std::isinf(logit) ? logit : Finite(logit + bias);
    });
  }
}

std::int64_t* TokenTally::Find(TokenId id) {
  if (id < 0 || id >= std::ssize(values_)) return nullptr;
  if (values_[id] == 0) seen_.push_back(id);
  return &values_[id];
}

std::span<const TokenId> HistoryTail(std::span<const TokenId> history, std::int64_t last_n) {
  if (last_n < 0 || last_n >= std::ssize(history)) return history;
  return history.last(last_n);
}

void ApplyPenalties(Candidates& candidates, std::span<const TokenId> history,
                    const PenaltyOptions& options, TokenTally& tally) {
  if (options.repeat == 1 && options.frequency == 0 && options.presence == 0) return;
  for (const TokenId id : HistoryTail(history, options.last_n)) {
    if (std::int64_t* count = tally.Find(id)) ++*count;
  }
  for (const TokenId id : tally.seen()) {
    const auto count = static_cast<double>(tally.Take(id));
    candidates.Adjust(id, [&](float logit) {
      if (std::isinf(logit)) return logit;
      const double scaled = logit > 0 ? logit / options.repeat : logit * options.repeat;
      return Finite(scaled - count * options.frequency - options.presence);
    });
  }
  tally.Forget();
}

void TopNSigma(Candidates& candidates, double n) {
  if (n <= 0) return;
  double sum = 0;
  std::int64_t count = 0;
  for (const float logit : candidates.logits()) {
    if (std::isinf(logit)) continue;
    sum += logit;
    ++count;
  }
  if (count == 0) return;
  const double mean = sum / static_cast<double>(count);
  double squares = 0;
  for (const float logit : candidates.logits()) {
    if (!std::isinf(logit)) squares += (logit - mean) * (logit - mean);
  }
  const double deviation = std::sqrt(squares / static_cast<double>(count));
  candidates.KeepAtLeast(candidates.MaxLogit() - n * deviation, 1);
}

void TopK(Candidates& candidates, std::int64_t k) {
  if (k > 0) candidates.KeepTop(k);
}

void TypicalP(Candidates& candidates, double p, std::int64_t min_keep) {
  if (p >= 1) return;
  const std::span<const float> logits = candidates.logits();
  const std::span<const float> weights = candidates.Weights();
  const double max = candidates.MaxLogit();
  const double total = SumWeights(weights);
  const double typical = max + std::log(total) - Entropy(logits, weights, max, total);
  candidates.KeepMass(weights, p * total, true, min_keep, [&](std::int64_t i) {
    return static_cast<float>(std::abs(typical - logits[i]));
  });
}

void TopP(Candidates& candidates, double p, std::int64_t min_keep) {
  if (p >= 1) return;
  const std::span<const float> logits = candidates.logits();
  const std::span<const float> weights = candidates.Weights();
  candidates.KeepMass(weights, p * SumWeights(weights), false, min_keep,
                      [&](std::int64_t i) { return -logits[i]; });
}

void MinP(Candidates& candidates, double p, std::int64_t min_keep) {
  if (p > 0) candidates.KeepAtLeast(candidates.MaxLogit() + std::log(p), min_keep);
}

void Xtc(Candidates& candidates, double probability, double threshold, Random& random) {
  if (probability <= 0 || threshold > 0.5) return;
  if (random.Uniform() >= probability) return;
  const std::span<const float> weights = candidates.Weights();
  const double limit = threshold * SumWeights(weights);
  const std::span<const float> logits = candidates.logits();
  std::int64_t least = -1;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < candidates.size(); ++i) {
    if (weights[i] < limit) continue;
    ++count;
    if (least < 0 || logits[i] <= logits[least]) least = i;
  }
  if (count < 2) return;
  candidates.KeepIf([&](std::int64_t i) { return weights[i] < limit || i == least; });
}

void Temperature(Candidates& candidates, double t) {
  if (t < kLowestTemperature) {
    candidates.KeepTop(1);
  } else if (t != 1) {
    candidates.Divide(static_cast<float>(t));
  }
}

void DynamicTemperature(Candidates& candidates, double t, double range, double exponent) {
  if (range <= 0) return Temperature(candidates, t);
  if (candidates.size() < 2) return;
  const std::span<const float> logits = candidates.logits();
  const std::span<const float> weights = candidates.Weights();
  const double entropy = Entropy(logits, weights, candidates.MaxLogit(), SumWeights(weights));
  const double most = std::log(static_cast<double>(candidates.size()));
  const double share = std::clamp(entropy / most, 0.0, 1.0);
  const double low = std::max(0.0, t - range);
  Temperature(candidates, low + (t + range - low) * std::pow(share, exponent));
}

DrawnToken Draw(Candidates& candidates, double u) {
  const std::span<const float> weights = candidates.Weights();
  const std::int64_t index = PickWeighted(weights, u);
  return {candidates.id(index), weights[index] / SumWeights(weights)};
}

}  // namespace foveate
