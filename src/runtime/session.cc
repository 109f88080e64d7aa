#include "runtime/session.h"

#include <algorithm>

#include "base/throw.h"

namespace foveate {

Session::Session(Context& context, std::shared_ptr<const LanguageModel> model,
                 const DecoderOptions& options)
    : decoder_(context, std::move(model), options), logits_(decoder_.model().config.vocabulary) {
  tokens_.reserve(std::min<std::int64_t>(decoder_.capacity(), 1 << 16));
}

std::int64_t Session::Set(std::span<const TokenId> tokens, const EvaluateHooks& hooks) {
  const std::int64_t count = static_cast<std::int64_t>(tokens.size());
  if (count == 0)
    Throw(ErrorCode::kInvalidArgument, "an empty prompt: at least one token is needed");
  if (count > capacity()) {
    Throw(ErrorCode::kLimit, "the prompt has {} tokens, but the context holds {} (see --ctx)",
          count, capacity());
  }
  // The last token is always evaluated: its hidden state gives the logits.
  const auto end = tokens.end() - 1;
  const auto [common, _] = std::mismatch(tokens.begin(), end, tokens_.begin(), tokens_.end());
  std::int64_t kept = common - tokens.begin();
  if (!decoder_.Rewind(kept)) {
    decoder_.Rewind(0);
    kept = 0;
  }
  tokens_.resize(kept);
  Evaluate(tokens.subspan(kept), hooks);
  return count - kept;
}

void Session::Append(TokenId token) { Evaluate({&token, 1}, {}); }

void Session::Evaluate(std::span<const TokenId> tokens, const EvaluateHooks& hooks) {
  const std::int64_t total = static_cast<std::int64_t>(tokens.size());
  std::int64_t last_rows = 0;
  for (std::int64_t done = 0; done < total; done += last_rows) {
    if (hooks.cancel != nullptr && *hooks.cancel) Throw(ErrorCode::kCancelled, "stopped");
    last_rows = std::min(total - done, decoder_.options().chunk);
    decoder_.Evaluate(tokens.subspan(done, last_rows), done + last_rows < total);
    tokens_.insert(tokens_.end(), tokens.begin() + done, tokens.begin() + done + last_rows);
    if (hooks.progress) hooks.progress(done + last_rows, total);
  }
  decoder_.Logits(last_rows - 1, MakeView(logits_.data(), 1, logits_.size()));
}

std::int64_t ArgMax(std::span<const float> values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

}  // namespace foveate
