// A session holds a sequence of tokens in a decoder's cache and brings it, at least cost, to any
// other sequence: what the two have in common is kept, only the rest is evaluated.
//
//   Session session(context, model, {.context = 4096});
//   session.Set(prompt_ids);
//   TokenId next = ArgMax(session.logits());
//   session.Append(next);
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace foveate {

struct EvaluateHooks {
  // Called after each chunk with the tokens evaluated so far and those to evaluate in all.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
  // Set from anywhere to stop between chunks with Error(kCancelled); what was evaluated stays.
  const std::atomic<bool>* cancel = nullptr;
};

class Session {
 public:
  Session(Context& context, std::shared_ptr<const LanguageModel> model,
          const DecoderOptions& options);

  const LanguageModel& model() const { return decoder_.model(); }
  Decoder& decoder() { return decoder_; }
  const Decoder& decoder() const { return decoder_; }
  std::span<const TokenId> tokens() const { return tokens_; }
  std::int64_t capacity() const { return decoder_.capacity(); }

  // Makes the sequence equal to `tokens` (at least one) and computes the logits after the last.
  // Returns the number of tokens evaluated. Throws Error(kLimit), naming both numbers, for more
  // tokens than the context holds.
  std::int64_t Set(std::span<const TokenId> tokens, const EvaluateHooks& hooks = {});

  // Evaluates one more token.
  void Append(TokenId token);

  // Scores that follow the last token, one for each row of the embedding.
  std::span<const float> logits() const { return {logits_.data(), size_t(logits_.size())}; }

 private:
  void Evaluate(std::span<const TokenId> tokens, const EvaluateHooks& hooks);

  Decoder decoder_;
  std::vector<TokenId> tokens_;
  Buffer<float> logits_;
};

// The position of the largest value, the first among equals.
std::int64_t ArgMax(std::span<const float> values);

}  // namespace foveate
