// Log-likelihoods of given token sequences, in tiles of rows so that [n, V] never exists at once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace foveate {

struct ScoredToken {
  TokenId id = 0;
  float logit = 0;
};

struct ScoreOptions {
  int top = 0;  // how many of the last position's best tokens to return
  // Sees the logits [rows, V] of positions first, first + 1, ... in order.
  std::function<void(std::int64_t first, View<const float, 2> rows)> on_rows;
  std::function<void(std::int64_t done)> on_progress;  // tokens evaluated so far; may throw
};

struct Scores {
  std::vector<double> nll;       // [n - 1], nats: of token i + 1 given tokens 0..i
  std::vector<ScoredToken> top;  // of the last position, best first, lowest id among equals

  double mean_nll() const;  // NaN without targets
};

// Evaluates `ids` (at least one) from position 0 on. Throws Error(kLimit) when they do not fit the
// context and Error(kNumerical) for NaN logits.
Scores ScoreTokens(Decoder& decoder, std::span<const TokenId> ids,
                   const ScoreOptions& options = {});

// log(sum(exp(x))), in float64.
double LogSumExp(std::span<const float> values);

// The `count` largest values, best first, the lower index first among equals.
std::vector<ScoredToken> TopTokens(std::span<const float> logits, int count);

}  // namespace foveate
