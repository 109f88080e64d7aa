// Mirostat: cuts the distribution off so that the surprise of the drawn tokens stays near a target.
// Basu et al., "Mirostat: A Neural Text Decoding Algorithm that Directly Controls Perplexity",
// 2021.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/sampler_candidates.h"
#include "runtime/sampler_stages.h"

namespace foveate {

class Mirostat {
 public:
  // Version 1 estimates how many tokens to keep from the slope of the first ranks, version 2 drops
  // every token whose own surprise is too large. `tau` in bits, `eta` the rate of learning.
  Mirostat(std::int64_t version, double tau, double eta, std::int64_t vocabulary);

  // Truncates, draws with u (see Draw) and learns from the surprise of the token among those that
  // were left.
  DrawnToken Sample(Candidates& candidates, double u);

  double mu() const { return mu_; }  // the surprise allowed now, in bits

 private:
  void TruncateByRank(Candidates& candidates);
  void TruncateBySurprise(Candidates& candidates) const;

  std::int64_t version_;
  double tau_;
  double eta_;
  double vocabulary_;
  double mu_;
  std::vector<Candidate> top_;
};

}  // namespace foveate
