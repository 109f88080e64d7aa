#include "eval/windows.h"

#include <algorithm>

#include "base/throw.h"

namespace foveate {

std::vector<EvalCase> PerplexityCases(std::span<const TokenId> text, std::span<const TokenId> bos,
                                      std::int64_t context, std::int64_t count) {
  const std::int64_t fresh = context - std::ssize(bos);
  if (context % 2 != 0 || fresh < 2) {
    Throw(ErrorCode::kInvalidArgument,
          "perplexity in windows of {} tokens, expected an even number", context);
  }
  if (std::ssize(text) < fresh) {
    Throw(ErrorCode::kInvalidArgument, "the text has {} tokens, a window of {} needs {}",
          std::ssize(text), context, fresh);
  }
  count = std::min(count, std::ssize(text) / fresh);
  const std::int64_t stride = std::ssize(text) / count;
  std::vector<EvalCase> cases;
  for (std::int64_t i = 0; i < count; ++i) {
    EvalCase window{.context = context, .number = i * stride};
    window.tokens.assign(bos.begin(), bos.end());
    const auto part = text.subspan(i * stride, fresh);
    window.tokens.insert(window.tokens.end(), part.begin(), part.end());
    cases.push_back(std::move(window));
  }
  return cases;
}

}  // namespace foveate
