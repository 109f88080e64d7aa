#include "runtime/sampler.h"

#include <cmath>

#include "base/throw.h"

namespace foveate {

Sampler::Sampler(const SamplingOptions& options, const SamplerContext& context)
    : vocabulary_(context.vocabulary),
      seed_(options.seed.has_value() ? *options.seed : RandomSeed()),
      logprobs_(options.logprobs || options.top_logprobs > 0),
      top_logprobs_(options.top_logprobs),
      random_(seed_, context.sequence),
      chain_(StagesFromOptions(options),
             {.vocabulary = context.vocabulary, .breakers = context.breakers}) {
  if (options.mirostat != 0) {
    mirostat_.emplace(options.mirostat, options.mirostat_tau, options.mirostat_eta, vocabulary_);
  }
}

SampledToken Sampler::Sample(std::span<const float> logits, std::span<const TokenId> history) {
  if (vocabulary_ < 1 || std::ssize(logits) < vocabulary_) {
    Throw(ErrorCode::kInvalidArgument, "got {} logits for a vocabulary of {} tokens", logits.size(),
          vocabulary_);
  }
  logits = logits.first(vocabulary_);
  candidates_.Reset(logits);
  const bool report = logprobs_ && !std::isinf(candidates_.MaxLogit());
  const double normalizer = report ? candidates_.LogNormalizer() : 0;
  if (report) ReportTop(normalizer);

  chain_.Apply(candidates_, history, random_);
  // One number per token even when only one candidate is left: streams stay aligned.
  const double u = random_.Uniform();
  const DrawnToken drawn = mirostat_ ? mirostat_->Sample(candidates_, u) : Draw(candidates_, u);

  SampledToken token{.id = drawn.id,
                     .probability = static_cast<float>(drawn.probability),
                     .logprob = std::nullopt,
                     .top = top_};
  if (report) token.logprob = static_cast<float>(logits[drawn.id] - normalizer);
  return token;
}

void Sampler::ReportTop(double normalizer) {
  top_.clear();
  if (top_logprobs_ == 0) return;
  candidates_.TopRanked(top_logprobs_, top_candidates_);
  for (const Candidate& candidate : top_candidates_) {
    if (std::isinf(candidate.logit)) break;
    top_.push_back({candidate.id, static_cast<float>(candidate.logit - normalizer)});
  }
}

}  // namespace foveate
