// Text generation: a prompt goes in, tokens are sampled and handed out as text until something says
// stop. Sampling, streaming and stopping meet here; evaluation is the session's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foveate/sampling.h"
#include "runtime/session.h"

namespace foveate {

enum class FinishReason {
  kStop,       // an end token or a stop string
  kLength,     // max_tokens reached, or the context is full
  kCancelled,  // the cancel flag or the text callback said so
};

const char* FinishReasonName(FinishReason reason);  // "stop", "length", "cancelled"

struct GenerateOptions {
  std::int64_t max_tokens = -1;   // -1: until the context is full
  std::vector<std::string> stop;  // text that ends the answer; it is not part of it
  bool ignore_end = false;        // end tokens do not end the answer
  bool continues_text = false;    // the prompt is raw text: a leading space belongs to the answer
  SamplingOptions sampling;
};

struct GenerateHooks {
  // Complete characters as they become certain; returning false stops.
  std::function<bool(std::string_view text)> on_text;
  std::function<void(std::int64_t done, std::int64_t total)> on_prefill;
  const std::atomic<bool>* cancel = nullptr;
};

struct GenerateResult {
  std::string text;
  std::vector<TokenId> ids;  // sampled tokens, without the end token
  bool cut = false;          // a stop string ended the text before its tokens did
  FinishReason finish_reason = FinishReason::kStop;
  std::uint64_t seed = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t evaluated_prompt_tokens = 0;  // the others were in the cache already
  double prefill_seconds = 0;
  double first_token_seconds = 0;  // from the call to the first sampled token
  double decode_seconds = 0;       // of all tokens after the first
};

// Continues `prompt` (at least one token). Throws Error(kLimit) for a prompt longer than the
// context, and what Session::Set, Sampler and the options' checks throw; a cancelled prefill
// returns FinishReason::kCancelled.
GenerateResult Generate(Session& session, std::span<const TokenId> prompt,
                        const GenerateOptions& options, const GenerateHooks& hooks = {});

}  // namespace foveate
