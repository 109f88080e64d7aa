// A model with one way of attention, under evaluation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/eval_case.h"
#include "mechanisms/spec.h"
#include "model/attention_tally.h"
#include "model/decoder.h"

namespace foveate {

// Whether any mechanism of a spec acts on the steps of decoding only.
bool ActsOnDecodingOnly(const AttentionSpec& spec);

class EvalSubject {
 public:
  // Called between chunks of work; may throw to stop.
  using Check = std::function<void()>;

  // `as_decoding`: the second half of a window is evaluated token by token.
  EvalSubject(Context& context, const std::shared_ptr<const LanguageModel>& model,
              DecoderOptions options, bool as_decoding);

  bool as_decoding() const { return as_decoding_; }
  Decoder& decoder() { return decoder_; }

  // Forgets all tokens and what they took.
  void Restart();
  // Begins to count what attention costs.
  void Count();

  // Evaluates tokens, in chunks. `more_follows`: of a prompt.
  void Evaluate(std::span<const TokenId> tokens, bool more_follows, const Check& check = {});

  // Logits of rows of the last chunk, as Decoder::Logits.
  void Logits(std::int64_t first, View<float, 2> logits);

  // What it took since Restart and Count, in an outcome that is empty else.
  EvalOutcome Cost() const;

 private:
  bool as_decoding_;
  std::unique_ptr<AttentionTally> tally_;  // does not move: the decoder knows it
  Decoder decoder_;
  double seconds_ = 0;
};

// A question, answered greedily; the last token of the prompt is a step of decoding.
EvalOutcome Answer(EvalSubject& subject, const EvalCase& question, const EvalSubject::Check& check);

}  // namespace foveate
