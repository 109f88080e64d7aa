// The stages of a sampler chain: each takes the candidates of one position and removes some of them
// or changes their logits. p below is the softmax over the candidates that a stage finds. Sources
// are named with each stage; where a paper leaves a choice open, the convention of the widely used
// open implementations is followed.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "runtime/random.h"
#include "runtime/sampler_candidates.h"
#include "text/tokenizer.h"

namespace foveate {

using LogitBias = std::pair<TokenId, double>;

// Adds a bias to single logits; -100 and less bans the token: its logit becomes -inf.
void ApplyLogitBias(Candidates& candidates, std::span<const LogitBias> biases);

struct PenaltyOptions {
  std::int64_t last_n = 64;  // 0: off, -1: the whole history
  double repeat = 1;     // Keskar et al., "CTRL", 2019: divides positive logits, multiplies others
  double frequency = 0;  // subtracted once for each occurrence
  double presence = 0;   // subtracted once if the token occurs at all
};

// Counts how often tokens occur without clearing a vocabulary-sized table each time.
class TokenTally {
 public:
  explicit TokenTally(std::int64_t vocabulary) : values_(vocabulary, 0) {}
  // A reference to the token's value, 0 at first; null for an id outside the vocabulary.
  std::int64_t* Find(TokenId id);
  std::span<const TokenId> seen() const { return seen_; }
  std::int64_t Take(TokenId id) { return std::exchange(values_[id], 0); }
  void Forget() { seen_.clear(); }

 private:
  std::vector<std::int64_t> values_;
  std::vector<TokenId> seen_;
};

// `history` is prompt and answer so far; `tally` is left empty.
void ApplyPenalties(Candidates& candidates, std::span<const TokenId> history,
                    const PenaltyOptions& options, TokenTally& tally);

// The last `last_n` tokens (-1: all).
std::span<const TokenId> HistoryTail(std::span<const TokenId> history, std::int64_t last_n);

// Keeps logits >= max - n standard deviations, taken over the finite logits; n <= 0: off.
// Tang et al., "Top-nσ: Not All Logits Are You Need", 2024.
void TopNSigma(Candidates& candidates, double n);

// Keeps the k largest; k <= 0: all.
void TopK(Candidates& candidates, std::int64_t k);

// Keeps the shortest prefix, most typical first (|-log p - entropy| smallest), whose probability
// exceeds p; p >= 1: off. Meister et al., "Locally Typical Sampling", 2022.
void TypicalP(Candidates& candidates, double p, std::int64_t min_keep = 1);

// Keeps the shortest prefix, most likely first, whose probability reaches p; p >= 1: off.
// Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019.
void TopP(Candidates& candidates, double p, std::int64_t min_keep = 1);

// Keeps probabilities of at least p times the largest; p <= 0: off.
// Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024.
void MinP(Candidates& candidates, double p, std::int64_t min_keep = 1);

// "Exclude top choices": with the chance `probability`, of all candidates with p >= threshold only
// the least likely stays. Off, and drawing no number, if probability <= 0 or threshold > 0.5; else
// exactly one number is drawn.
void Xtc(Candidates& candidates, double probability, double threshold, Random& random);

// Divides the logits; t <= 0 keeps the first in rank only.
void Temperature(Candidates& candidates, double t);

// A temperature between max(0, t - range) and t + range, by (entropy / its maximum)^exponent;
// range <= 0: Temperature(t). Zhu et al., "Hot or Cold? Adaptive Temperature Sampling", 2023.
void DynamicTemperature(Candidates& candidates, double t, double range, double exponent);

struct DrawnToken {
  TokenId id;
  double probability;
};

// The token that a uniform u in [0, 1) selects: the first, by id, at which the running sum of the
// probabilities reaches u. At least one logit must be finite.
DrawnToken Draw(Candidates& candidates, double u);

}  // namespace foveate
