#include "runtime/generate.h"

#include "base/stopwatch.h"
#include "base/throw.h"
#include "runtime/sampler.h"
#include "runtime/sampler_dry.h"
#include "runtime/stop_strings.h"

namespace foveate {
namespace {

// Sends text on and remembers it.
class TextOutput {
 public:
  TextOutput(const GenerateHooks& hooks, std::string& text) : hooks_(hooks), text_(text) {}

  void Emit(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    if (hooks_.on_text && !hooks_.on_text(piece)) refused_ = true;
  }
  bool refused() const { return refused_; }

 private:
  const GenerateHooks& hooks_;
  std::string& text_;
  bool refused_ = false;
};

bool IsSet(const std::atomic<bool>* flag) { return flag != nullptr && *flag; }

}  // namespace

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "cancelled";
  }
  return "unknown";
}

GenerateResult Generate(Session& session, std::span<const TokenId> prompt,
                        const GenerateOptions& options, const GenerateHooks& hooks) {
  const Tokenizer* tokenizer = session.model().tokenizer.get();
  if (tokenizer == nullptr) {
    Throw(ErrorCode::kUnsupported, "{}: the file has no vocabulary to write text with",
          session.model().file.path());
  }
  std::vector<TokenSequence> breakers;  // looking them up reads the whole vocabulary
  if (options.sampling.dry_multiplier != 0) {
    breakers = FindBreakerSequences(*tokenizer, options.sampling.dry_breakers);
  }
  Sampler sampler(options.sampling,
                  {.vocabulary = session.model().vocabulary(), .breakers = breakers});
  StopMatcher stops(options.stop);
  StreamDecoder decoder(*tokenizer, false, options.continues_text);
  GenerateResult result;
  TextOutput output(hooks, result.text);
  result.seed = sampler.seed();
  result.prompt_tokens = static_cast<std::int64_t>(prompt.size());

  const Stopwatch watch;
  try {
    result.evaluated_prompt_tokens =
        session.Set(prompt, {.progress = hooks.on_prefill, .cancel = hooks.cancel});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    result.finish_reason = FinishReason::kCancelled;
    return result;
  }
  result.prefill_seconds = watch.Seconds();

  const auto finished = [&](TokenId token) {
    const auto made = static_cast<std::int64_t>(result.ids.size());
    if (!options.ignore_end && tokenizer->IsEndOfGeneration(token)) {
      result.finish_reason = FinishReason::kStop;
      return true;
    }
    output.Emit(stops.Feed(decoder.Add(token)));
    result.ids.push_back(token);
    const bool full = static_cast<std::int64_t>(session.tokens().size()) >= session.capacity();
    if (stops.stopped()) {
      result.cut = true;
      result.finish_reason = FinishReason::kStop;
    } else if (IsSet(hooks.cancel) || output.refused()) {
      result.finish_reason = FinishReason::kCancelled;
    } else if (full || (options.max_tokens >= 0 && made + 1 >= options.max_tokens)) {
      result.finish_reason = FinishReason::kLength;
    } else {
      return false;
    }
    return true;
  };

  if (options.max_tokens == 0) {
    result.finish_reason = FinishReason::kLength;
    return result;
  }
  TokenId token = sampler.Sample(session.logits(), session.tokens()).id;
  result.first_token_seconds = watch.Seconds();
  while (!finished(token)) {
    session.Append(token);
    token = sampler.Sample(session.logits(), session.tokens()).id;
  }
  result.decode_seconds = watch.Seconds() - result.first_token_seconds;
  output.Emit(stops.Feed(decoder.Finish()));
  output.Emit(stops.Finish());
  return result;
}

}  // namespace foveate
