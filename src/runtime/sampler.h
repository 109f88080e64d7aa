// Chooses tokens: one Sampler per request.
//
//   Sampler sampler({.temperature = 0.7, .seed = 42}, {.vocabulary = tokenizer.size()});
//   SampledToken next = sampler.Sample(logits, history);
//
// The same options, seed, sequence number and logits give the same tokens, on every machine.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "foveate/sampling.h"
#include "runtime/random.h"
#include "runtime/sampler_chain.h"
#include "runtime/sampler_mirostat.h"

namespace foveate {

struct SamplerContext {
  std::int64_t vocabulary = 0;                   // tokens in the list; logits beyond are padding
  std::span<const TokenSequence> breakers = {};  // of DRY: see FindBreakerSequences
  std::uint64_t sequence = 0;                    // tells requests of the same seed apart
};

struct SampledToken {
  TokenId id = -1;
  float probability = 0;  // among the candidates that the chain left
  // Natural logarithm of the model's own probability, before any stage; only if asked for.
  std::optional<float> logprob;
  // The model's most likely tokens, best first; valid until the next Sample.
  std::span<const TokenLogprob> top;
};

class Sampler {
 public:
  // Throws Error(kInvalidArgument) for options out of range.
  Sampler(const SamplingOptions& options, const SamplerContext& context);

  // `logits` of the next token, at least `vocabulary` of them; `history` is the prompt and the
  // answer so far. Throws Error: kNumerical for NaN or +inf among the logits, kBadRequest if every
  // token is banned, kInvalidArgument for too few logits.
  SampledToken Sample(std::span<const float> logits, std::span<const TokenId> history);

  // The seed in use: the options' or, if they had none, the random one.
  std::uint64_t seed() const { return seed_; }

 private:
  void ReportTop(double normalizer);

  std::int64_t vocabulary_;
  std::uint64_t seed_;
  bool logprobs_;
  std::int64_t top_logprobs_;
  Random random_;
  SamplerChain chain_;
  std::optional<Mirostat> mirostat_;
  Candidates candidates_;
  std::vector<Candidate> top_candidates_;
  std::vector<TokenLogprob> top_;
};

}  // namespace foveate
