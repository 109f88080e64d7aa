// DRY ("don't repeat yourself"): a token that would continue a repetition of the text so far is
// penalised, the more the longer the repetition already is.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sampler_candidates.h"
#include "runtime/sampler_stages.h"
#include "text/tokenizer.h"

namespace foveate {

struct DryOptions {
  double multiplier = 0;  // 0: off
  double base = 1.75;
  std::int64_t allowed_length = 2;  // >= 1; shorter repetitions are free
  std::int64_t last_n = 64;         // -1: the whole history
};

using TokenSequence = std::vector<TokenId>;

// The token sequences that a repetition may not reach across, made ready for looking up.
class DryBreakers {
 public:
  DryBreakers() = default;
  explicit DryBreakers(std::span<const TokenSequence> sequences);

  // Whether the token alone is a breaker.
  bool Contains(TokenId id) const;
  // How many tokens follow the end of the last breaker in `window`: all, if there is none.
  std::int64_t TokensAfterLast(std::span<const TokenId> window) const;

 private:
  std::vector<TokenId> single_;           // sorted
  std::vector<TokenSequence> sequences_;  // of two tokens and more, sorted by their last
};

// The token sequences whose text contains one of `breakers`: single tokens that hold it, and a
// token that ends with its beginning followed by the tokens of the rest. `texts[id]` is what a
// token adds to a running text, `encode` turns text into ids without special tokens.
std::vector<TokenSequence> FindBreakerSequences(
    std::span<const std::string> texts, std::span<const std::string> breakers,
    const std::function<std::vector<TokenId>(std::string_view)>& encode);
std::vector<TokenSequence> FindBreakerSequences(const Tokenizer& tokenizer,
                                                std::span<const std::string> breakers);

// Buffers that keep their memory from token to token.
struct DryScratch {
  std::vector<std::int32_t> matches;
};

// Let R be the longest repetition that token t would continue: t follows an earlier occurrence of
// the last R tokens of the window. Where R >= allowed_length, its logit loses
// multiplier * base^(R - allowed_length). Linear in the length of the window. `tally` is left
// empty.
void ApplyDry(Candidates& candidates, std::span<const TokenId> history, const DryOptions& options,
              const DryBreakers& breakers, TokenTally& tally, DryScratch& scratch);

}  // namespace foveate
