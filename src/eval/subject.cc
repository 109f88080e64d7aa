#include "eval/subject.h"

#include <algorithm>
#include <utility>

#include "base/stopwatch.h"
#include "eval/questions.h"
#include "mechanisms/mechanism.h"
#include "runtime/session.h"

namespace foveate {
namespace {

bool HasDecodingOnly(const SpecNode& node) {
  const auto of_params = [](const Params& params) { return params.mechanism().decoding_only; };
  const auto of_child = [](const SpecNodePtr& child) { return HasDecodingOnly(*child); };
  return std::any_of(node.mechanism.begin(), node.mechanism.end(), of_params) ||
         std::any_of(node.children.begin(), node.children.end(), of_child);
}

}  // namespace

bool ActsOnDecodingOnly(const AttentionSpec& spec) {
  return std::any_of(spec.layers().begin(), spec.layers().end(),
                     [](const LayerAttention& layer) { return HasDecodingOnly(*layer.node); });
}

EvalSubject::EvalSubject(Context& context, const std::shared_ptr<const LanguageModel>& model,
                         DecoderOptions options, bool as_decoding)
    : as_decoding_(as_decoding),
      tally_(std::make_unique<AttentionTally>()),
      decoder_(context, model, std::move(options)) {}

void EvalSubject::Restart() {
  decoder_.Rewind(0);
  decoder_.set_tally(nullptr);
  *tally_ = {};
  seconds_ = 0;
}

void EvalSubject::Count() { decoder_.set_tally(tally_.get()); }

void EvalSubject::Evaluate(std::span<const TokenId> tokens, bool more_follows, const Check& check) {
  const std::int64_t chunk = decoder_.options().chunk;
  while (!tokens.empty()) {
    if (check) check();
    const auto part = tokens.first(std::min<std::size_t>(chunk, tokens.size()));
    tokens = tokens.subspan(part.size());
    const Stopwatch watch;
    decoder_.Evaluate(part, more_follows || !tokens.empty());
    seconds_ += watch.Seconds();
  }
}

void EvalSubject::Logits(std::int64_t first, View<float, 2> logits) {
  const Stopwatch watch;
  decoder_.Logits(first, logits);
  seconds_ += watch.Seconds();
}

EvalOutcome EvalSubject::Cost() const {
  return {.seconds = seconds_,
          .attention_seconds = tally_->seconds,
          .selection_seconds = tally_->selection_seconds,
          .density = tally_->density()};
}

EvalOutcome Answer(EvalSubject& subject, const EvalCase& question,
                   const EvalSubject::Check& check) {
  const std::span<const TokenId> prompt = question.tokens;
  subject.Restart();
  if (!subject.as_decoding()) subject.Count();
  subject.Evaluate(prompt.first(prompt.size() - 1), true, check);
  subject.Count();
  const std::int64_t vocabulary = subject.decoder().model().config.vocabulary;
  Buffer<float> logits(vocabulary);
  std::vector<TokenId> answer;
  TokenId next = prompt.back();
  for (std::int64_t step = 0; step < kAnswerTokens; ++step) {
    subject.Evaluate({&next, 1}, false, check);
    subject.Logits(0, MakeView(logits.data(), std::int64_t{1}, vocabulary));
    next = static_cast<TokenId>(ArgMax({logits.data(), static_cast<std::size_t>(vocabulary)}));
    answer.push_back(next);
  }
  EvalOutcome outcome = subject.Cost();
  outcome.answer = subject.decoder().model().tokenizer->Decode(answer);
  outcome.correct = AnswersKey(outcome.answer, question.key);
  return outcome;
}

}  // namespace foveate
