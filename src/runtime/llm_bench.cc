#include "runtime/llm_bench.h"

#include <algorithm>

#include "base/stopwatch.h"
#include "base/throw.h"

namespace foveate {
namespace {

// Token ids that hit all parts of the vocabulary.
std::vector<TokenId> SpreadTokens(std::int64_t count, std::int64_t vocabulary) {
  const std::int64_t range =
      std::max<std::int64_t>(1, std::min<std::int64_t>(40000, vocabulary - 100));
  const std::int64_t first = vocabulary > 100 ? 100 : 0;
  std::vector<TokenId> tokens(count);
  for (std::int64_t i = 0; i < count; ++i) {
    tokens[i] = static_cast<TokenId>((i * 7919) % range + first);
  }
  return tokens;
}

class LlmBench {
 public:
  LlmBench(Decoder& decoder, const LlmBenchOptions& options)
      : decoder_(decoder),
        options_(options),
        logits_(decoder.model().config.vocabulary),
        tokens_(SpreadTokens(decoder.capacity(), decoder.model().config.vocabulary)) {}

  std::vector<LlmBenchRow> Run() {
    std::vector<LlmBenchRow> rows;
    for (std::int64_t depth : options_.depths) {
      for (std::int64_t tokens : options_.prompts)
        rows.push_back(Measure("prefill", tokens, depth));
      for (std::int64_t tokens : options_.generations) {
        rows.push_back(Measure("decode", tokens, depth));
      }
    }
    return rows;
  }

 private:
  LlmBenchRow Measure(const std::string& test, std::int64_t tokens, std::int64_t depth) {
    if (tokens < 1 || depth < 0 || depth + tokens > decoder_.capacity()) {
      Throw(ErrorCode::kLimit, "{} tokens at depth {} do not fit the context of {}", tokens, depth,
            decoder_.capacity());
    }
    LlmBenchRow row{.test = test, .tokens = tokens, .depth = depth};
    const bool prefill = test == "prefill";
    for (int i = -1; i < options_.repetitions; ++i) {
      if (options_.on_step) {
        options_.on_step(fmt::format("{} {} at depth {}, {}/{}", test, tokens, depth,
                                     std::max(0, i), options_.repetitions));
      }
      GoTo(depth);
      const Stopwatch watch;
      if (prefill) {
        Prefill(tokens);
      } else {
        for (std::int64_t t = 0; t < tokens; ++t) Prefill(1);
      }
      const double seconds = watch.Seconds();
      if (i >= 0) row.seconds.push_back(seconds);
    }
    CountWork(prefill, row);
    return row;
  }

  void GoTo(std::int64_t depth) {
    if (decoder_.position() >= depth && decoder_.Rewind(depth)) return;
    decoder_.Rewind(0);
    while (decoder_.position() < depth) EvaluateNext(depth - decoder_.position());
  }

  std::int64_t EvaluateNext(std::int64_t wanted) {
    const std::int64_t size = std::min(wanted, decoder_.options().chunk);
    decoder_.Evaluate(std::span(tokens_).subspan(decoder_.position(), size));
    return size;
  }

  // Reads tokens and computes the logits of the last.
  void Prefill(std::int64_t tokens) {
    std::int64_t size = 0;
    for (std::int64_t done = 0; done < tokens; done += size) size = EvaluateNext(tokens - done);
    decoder_.Logits(size - 1, MakeView(logits_.data(), 1, logits_.size()));
  }

  void CountWork(bool prefill, LlmBenchRow& row) const {
    const ModelConfig& config = decoder_.model().config;
    const ModelWeights& weights = decoder_.model().weights;
    double layer_weights = 0;
    for (const LayerConfig& layer : config.layers) {
      const double attention = static_cast<double>(layer.query_heads + layer.kv_heads) *
                               (config.key_dim + config.value_dim);
      layer_weights += config.embedding * (attention + 3.0 * layer.feed_forward);
    }
    const double output = static_cast<double>(config.vocabulary) * config.embedding;
    row.macs_per_token = layer_weights + (prefill ? output / row.tokens : output);
    if (prefill) return;
    const bool untied = weights.output.rows() > 0;
    row.bytes_per_token =
        static_cast<double>(weights.bytes() - (untied ? weights.embedding.bytes() : 0));
    const double mean_depth = row.depth + row.tokens / 2.0;
    for (const LayerConfig& layer : config.layers) {
      const double keys =
          layer.window > 0 ? std::min<double>(layer.window, mean_depth) : mean_depth;
      row.bytes_per_token += keys * BytesPerPosition(layer);
    }
  }

  double BytesPerPosition(const LayerConfig& layer) const {
    const auto bytes = [](KvType type) {
      return (ElementBits(type) + (HasScales(type) ? 16.0 / kCodeBlock : 0.0)) / 8;
    };
    const ModelConfig& config = decoder_.model().config;
    return layer.kv_heads * (config.key_dim * bytes(decoder_.options().key_type) +
                             config.value_dim * bytes(decoder_.options().value_type));
  }

  Decoder& decoder_;
  const LlmBenchOptions& options_;
  Buffer<float> logits_;
  std::vector<TokenId> tokens_;
};

}  // namespace

double LlmBenchRow::median_seconds() const {
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double LlmBenchRow::spread() const {
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return (*slowest - *fastest) / median_seconds();
}

std::vector<LlmBenchRow> BenchLlm(Decoder& decoder, const LlmBenchOptions& options) {
  return LlmBench(decoder, options).Run();
}

}  // namespace foveate
