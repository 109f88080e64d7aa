#include "runtime/sampler_mirostat.h"

#include <cmath>
#include <numbers>

namespace foveate {

Mirostat::Mirostat(std::int64_t version, double tau, double eta, std::int64_t vocabulary)
    : version_(version),
      tau_(tau),
      eta_(eta),
      vocabulary_(static_cast<double>(vocabulary)),
      mu_(2 * tau) {}

DrawnToken Mirostat::Sample(Candidates& candidates, double u) {
  if (version_ == 1) {
    TruncateByRank(candidates);
  } else {
    TruncateBySurprise(candidates);
  }
  const DrawnToken drawn = Draw(candidates, u);
  mu_ -= eta_ * (-std::log2(drawn.probability) - tau_);
  return drawn;
}

// Fits Zipf's law, p of rank i ~ i^-s, to the first ranks and keeps the k at which the expected
// surprise is mu.
void Mirostat::TruncateByRank(Candidates& candidates) {
  constexpr std::int64_t kRanks = 100;
  candidates.TopRanked(kRanks, top_);
  double products = 0;
  double squares = 0;
  for (std::int64_t i = 0; i + 1 < std::ssize(top_) && !std::isinf(top_[i + 1].logit); ++i) {
    const double t = std::log(static_cast<double>(i + 2) / static_cast<double>(i + 1));
    products += t * (static_cast<double>(top_[i].logit) - top_[i + 1].logit);
    squares += t * t;
  }
  if (squares == 0) return;
  const double slope = products / squares;
  const double excess = slope - 1;
  const double k =
      std::pow(excess * std::exp2(mu_) / (1 - std::pow(vocabulary_, -excess)), 1 / slope);
  // Not a number (slope exactly 1) or more than there are: nothing to cut.
  if (k < static_cast<double>(candidates.size())) {
    candidates.KeepTop(k < 1 ? 1 : static_cast<std::int64_t>(k));
  }
}

void Mirostat::TruncateBySurprise(Candidates& candidates) const {
  // -log2 p <= mu, with p = exp(logit - normalizer).
  candidates.KeepAtLeast(candidates.LogNormalizer() - mu_ * std::numbers::ln2, 1);
}

}  // namespace foveate
