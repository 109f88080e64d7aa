#include "runtime/scoring.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::int64_t kTileBytes = 8 << 20;  // logits computed at once

}  // namespace

double Scores::mean_nll() const {
  if (nll.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

double LogSumExp(std::span<const float> values) {
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (float value : values) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

std::vector<ScoredToken> TopTokens(std::span<const float> logits, int count) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::min<std::size_t>(count, order.size());
  std::partial_sort(order.begin(), end, order.end(), [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::vector<ScoredToken> top;
  for (auto it = order.begin(); it != end; ++it) top.push_back({*it, logits[*it]});
  return top;
}

Scores ScoreTokens(Decoder& decoder, std::span<const TokenId> ids, const ScoreOptions& options) {
  const std::int64_t count = static_cast<std::int64_t>(ids.size());
  const std::int64_t vocabulary = decoder.model().config.vocabulary;
  if (count == 0) Throw(ErrorCode::kInvalidArgument, "no tokens to score");
  if (count > decoder.capacity()) {
    Throw(ErrorCode::kLimit, "{} tokens to score, but the context holds {} (see --ctx)", count,
          decoder.capacity());
  }
  decoder.Rewind(0);
  const std::int64_t tile =
      std::clamp<std::int64_t>(kTileBytes / (vocabulary * static_cast<std::int64_t>(sizeof(float))),
                               1, decoder.options().chunk);
  Buffer<float> buffer(tile * vocabulary);
  Scores scores;
  for (std::int64_t start = 0; start < count; start += decoder.options().chunk) {
    const std::int64_t size = std::min(decoder.options().chunk, count - start);
    decoder.Evaluate(ids.subspan(start, size), start + size < count);
    for (std::int64_t row = 0; row < size; row += tile) {
      const std::int64_t rows = std::min(tile, size - row);
      const View<float, 2> logits = MakeView(buffer.data(), rows, vocabulary);
      decoder.Logits(row, logits);
      if (options.on_rows) options.on_rows(start + row, logits);
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::span<const float> values(&logits(i, 0), vocabulary);
        const std::int64_t at = start + row + i;
        if (at + 1 < count) {
          const double nll = LogSumExp(values) - values[ids[at + 1]];
          if (std::isnan(nll)) Throw(ErrorCode::kNumerical, "NaN logits at position {}", at);
          scores.nll.push_back(nll);
        } else {
          scores.top = TopTokens(values, options.top);
        }
      }
    }
    if (options.on_progress) options.on_progress(start + size);
  }
  return scores;
}

}  // namespace foveate
