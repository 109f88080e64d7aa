#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/checked.h"
#include "base/stopwatch.h"
#include "base/throw.h"
#include "kernels/attention_kernels.h"

namespace foveate {
namespace {

KvCacheOptions CacheOptions(const ModelConfig& config, const LayerConfig& layer,
                            const LayerAttentionPlan& plan, const DecoderOptions& options) {
  return {.kv_heads = layer.kv_heads,
          .key_dim = config.key_dim,
          .value_dim = config.value_dim,
          .capacity = options.context,
          .window = plan.kept ? plan.kept->last + 1 : 0,
          .first = plan.kept ? plan.kept->first : 0,
          .chunk = options.chunk,
          .key_type = options.key_type,
          .value_type = options.value_type,
          .folder = options.kv_folder};
}

DecoderOptions Resolved(const LanguageModel& model, DecoderOptions options) {
  if (options.context == 0) options.context = DefaultContext(model.config, options);
  options.chunk = std::min(options.chunk, options.context);
  const std::int64_t needed = KvBytes(model.config, options);
  const std::int64_t available = SystemMemory().available_bytes;
  if (options.kv_folder.empty() && available > 0 && needed > available) {
    Throw(ErrorCode::kLimit,
          "a context of {} tokens needs {:.1f} GB of KV cache, but only {:.1f} GB of memory are "
          "available (choose a smaller context, a smaller cache type or a cache on disk)",
          options.context, needed / 1e9, available / 1e9);
  }
  return options;
}

ModelConfig WithScaling(ModelConfig config, const DecoderOptions& options) {
  if (options.rope_scaling) config.rope_scaling = *options.rope_scaling;
  return config;
}

std::vector<KvCache> MakeCaches(const ModelConfig& config,
                                const std::vector<LayerAttentionPlan>& plans,
                                const DecoderOptions& options) {
  std::vector<KvCache> caches;
  caches.reserve(config.layers.size());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    caches.emplace_back(CacheOptions(config, config.layers[i], plans[i], options));
  }
  return caches;
}

}  // namespace

std::int64_t KvBytes(const ModelConfig& config, const DecoderOptions& options) {
  const std::vector<LayerAttentionPlan> plans = PlanAttention(config, options.attention);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    bytes += KvCache::BytesFor(CacheOptions(config, config.layers[i], plans[i], options));
  }
  return bytes;
}

std::int64_t DefaultContext(const ModelConfig& config, const DecoderOptions& options) {
  return IsStreaming(PlanAttention(config, options.attention)) ? kEndlessContext : config.context;
}

Decoder::Decoder(Context& context, std::shared_ptr<const LanguageModel> model,
                 DecoderOptions options)
    : context_(context),
      model_(std::move(model)),
      options_(Resolved(*model_, std::move(options))),
      ops_(VectorOpsFor(context.isa())),
      rope_(MakeRopeTables(
          model_->file, WithScaling(model_->config, options_),
          options_.context == kEndlessContext ? model_->config.context : options_.context)),
      plans_(PlanAttention(model_->config, options_.attention)),
      caches_(MakeCaches(model_->config, plans_, options_)),
      selection_states_(caches_.size()) {
  const ModelConfig& config = model_->config;
  const std::int64_t t = options_.chunk;
  const std::int64_t heads = config.max_query_heads();
  const std::int64_t kv_heads = config.max_kv_heads();
  const std::int64_t f = config.max_feed_forward();
  residual_ = Buffer<float>(t * config.embedding);
  normed_ = Buffer<float>(t * config.embedding);
  queries_ = Buffer<float>(t * heads * config.key_dim);
  keys_ = Buffer<float>(t * kv_heads * config.key_dim);
  values_ = Buffer<float>(t * kv_heads * config.value_dim);
  mixed_ = Buffer<float>(t * heads * config.value_dim);
  lse_ = Buffer<float>(t * heads);
  if (std::any_of(plans_.begin(), plans_.end(), [](const auto& plan) { return plan.sinks; })) {
    sink_queries_ = Buffer<float>(queries_.size());
    sink_mixed_ = Buffer<float>(mixed_.size());
    sink_lse_ = Buffer<float>(lse_.size());
  }
  gate_ = Buffer<float>(t * f);
  up_ = Buffer<float>(t * f);
  const std::int64_t pairs = config.rope_dim / 2;
  for (Buffer<float>* table : {&global_cosine_, &global_sine_, &local_cosine_, &local_sine_}) {
    *table = Buffer<float>(t * pairs);
  }
  activations_.Reserve(t, std::max({config.embedding, f, heads * config.value_dim}));
}

std::int64_t Decoder::kv_bytes() const {
  std::int64_t bytes = 0;
  for (const KvCache& cache : caches_) bytes += cache.bytes();
  return bytes;
}

void Decoder::Evaluate(std::span<const TokenId> tokens, bool more_follows) {
  const std::int64_t count = static_cast<std::int64_t>(tokens.size());
  if (count < 1 || count > options_.chunk) {
    Throw(ErrorCode::kInvalidArgument, "{} tokens in one pass, expected 1 to {}", count,
          options_.chunk);
  }
  if (count > options_.context - position_) {
    Throw(ErrorCode::kLimit, "{} tokens do not fit: {} of the context's {} positions are taken",
          count, position_, options_.context);
  }
  for (TokenId token : tokens) {
    if (token < 0 || token >= model_->config.vocabulary) {
      Throw(ErrorCode::kInvalidArgument, "token id {} is outside the vocabulary of {}", token,
            model_->config.vocabulary);
    }
  }

  tokens_ = count;
  more_follows_ = more_follows;
  Embed(tokens);
  FillRotations();
  for (std::size_t i = 0; i < caches_.size(); ++i) {
    const LayerConfig& layer = model_->config.layers[i];
    caches_[(i + 1) % caches_.size()].WillNeed();
    AttentionBlock(layer, model_->weights.layers[i], plans_[i], caches_[i], selection_states_[i]);
    caches_[i].NotSoon();
    FeedForwardBlock(layer, model_->weights.layers[i]);
  }
  position_ += count;
}

void Decoder::Embed(std::span<const TokenId> tokens) {
  const std::int64_t e = model_->config.embedding;
  const bool scaled = model_->config.architecture->scaled_embedding;
  const float scale = scaled ? std::sqrt(static_cast<float>(e)) : 1.0f;
  ForRows([&](std::int64_t t) {
    float* row = &residual_[t * e];
    model_->weights.embedding.DequantizeRow(tokens[t], row);
    if (scaled) ops_.scale(row, scale, e);
  });
}

void Decoder::FillRotations() {
  const std::int64_t pairs = rope_.global.pairs();
  const bool has_local = model_->config.local_rope_base != 0;
  ForRows([&](std::int64_t t) {
    const std::int64_t at = t * pairs;
    rope_.global.Row(position_ + t, &global_cosine_[at], &global_sine_[at]);
    if (has_local) rope_.local.Row(position_ + t, &local_cosine_[at], &local_sine_[at]);
  });
}

// x += Wo attention(rope(Wq h), rope(Wk h), Wv h),  h = rms(x)
void Decoder::AttentionBlock(const LayerConfig& layer, const LayerWeights& weights,
                             const LayerAttentionPlan& plan, KvCache& cache,
                             SelectionStates& states) {
  const ModelConfig& config = model_->config;
  const std::int64_t h = layer.query_heads, k = layer.kv_heads;
  const std::int64_t d = config.key_dim, dv = config.value_dim;
  Normalize(weights.attention_norm);
  activations_.Set(context_, MakeView<const float>(normed_.data(), tokens_, config.embedding),
                   options_.activations);
  const LinearTask tasks[] = {{&weights.query, MakeView(queries_.data(), tokens_, h * d)},
                              {&weights.key, MakeView(keys_.data(), tokens_, k * d)},
                              {&weights.value, MakeView(values_.data(), tokens_, k * dv)}};
  Linear(context_, activations_, tasks);
  PrepareHeads(layer, weights, plan);
  cache.Append(context_, MakeView<const float>(keys_.data(), tokens_, k, d),
               MakeView<const float>(values_.data(), tokens_, k, dv));
  const View<float, 3> mixed = MakeView(mixed_.data(), tokens_, h, dv);
  Mix(plan, cache, states, MakeView<const float>(queries_.data(), tokens_, h, d),
      layer.window == 0 ? tally_ : nullptr, mixed);
  activations_.Set(context_, MakeView<const float>(mixed_.data(), tokens_, h * dv),
                   options_.activations);
  AddOutput(weights.attention_output, weights.attention_output_bias, weights.attention_post_norm);
}

// Attention of queries over the cache, by the layer's plan.
void Decoder::Mix(const LayerAttentionPlan& plan, const KvCache& cache, SelectionStates& states,
                  const View<const float, 3>& queries, AttentionTally* tally,
                  View<float, 3> mixed) {
  AttentionOptions options{.pattern = plan.pattern,
                           .head_patterns = plan.head_patterns,
                           .scale = static_cast<float>(model_->config.score_scale),
                           .soft_cap = static_cast<float>(model_->config.score_cap)};
  const Stopwatch watch;
  if (plan.selection) {
    const std::unique_ptr<SelectionInput> in = SelectFrom(context_, cache, queries);
    in->more_follows = more_follows_;
    options.head_patterns = SelectPatterns(context_, *plan.selection, *in, &states);
  }
  const double selected = watch.Seconds();
  const View<float, 2> lse = MakeView(lse_.data(), tokens_, queries.shape[1]);
  Attend(context_, cache, queries, options, attention_scratch_, mixed, lse);
  if (plan.sinks) AddMovedSinks(*plan.sinks, options, cache, mixed, lse);
  if (tally == nullptr) return;
  tally->seconds += watch.Seconds();
  tally->selection_seconds += selected;
  std::vector<PatternPtr> patterns = options.head_patterns;
  if (patterns.empty()) patterns.push_back(options.pattern);
  tally->Count(patterns, {tokens_, cache.length()});
}

// What the queries get from the sinks behind their windows, seen from where they stand in the
// cache.
void Decoder::AddMovedSinks(const MovedSinks& sinks, AttentionOptions options, const KvCache& cache,
                            View<float, 3> mixed, View<float, 2> lse) {
  if (position_ + tokens_ - 1 <= sinks.left) return;  // none has left the window
  const auto [tokens, h, dv] = mixed.shape;
  options.pattern = sinks.pattern;
  const View<float, 3> more = MakeView(sink_mixed_.data(), tokens, h, dv);
  const View<float, 2> more_lse = MakeView(sink_lse_.data(), tokens, h);
  Attend(context_, cache,
         MakeView<const float>(sink_queries_.data(), tokens, h, model_->config.key_dim), options,
         attention_scratch_, more, more_lse);
  const std::int64_t rows = tokens * h;
  MergeAttention(MakeView<const float>(more.data, rows, dv),
                 MakeView<const float>(more_lse.data, rows), MakeView(mixed.data, rows, dv),
                 MakeView(lse.data, rows));
}

// Biases, head norms and rotation of queries and keys, where the model has them.
void Decoder::PrepareHeads(const LayerConfig& layer, const LayerWeights& weights,
                           const LayerAttentionPlan& plan) {
  const ModelConfig& config = model_->config;
  const std::int64_t d = config.key_dim;
  const std::int64_t pairs = config.rope_dim / 2;
  const bool local = layer.window > 0 && config.local_rope_base != 0;
  const float* cosine = local ? local_cosine_.data() : global_cosine_.data();
  const float* sine = local ? local_sine_.data() : global_sine_.data();
  const auto rotate = config.architecture->rope_pairs == RopePairs::kHalves ? ops_.rotate_halves
                                                                            : ops_.rotate_adjacent;
  const float epsilon = static_cast<float>(config.rms_epsilon);
  ForRows([&](std::int64_t t) {
    const auto prepare = [&](float* row, std::int64_t heads, const FloatVector& bias,
                             const FloatVector& norm) {
      if (!bias.empty()) ops_.add(row, bias.data(), heads * d);
      if (norm.empty()) return;
      for (std::int64_t head = 0; head < heads; ++head) {
        ops_.rms_norm(row + head * d, norm.data(), epsilon, d, row + head * d);
      }
    };
    const auto rotate_all = [&](float* row, std::int64_t heads, const float* cos,
                                const float* sin) {
      if (!layer.rotates) return;
      for (std::int64_t head = 0; head < heads; ++head) rotate(row + head * d, cos, sin, pairs);
    };
    float* query = &queries_[t * layer.query_heads * d];
    float* key = &keys_[t * layer.kv_heads * d];
    prepare(query, layer.query_heads, weights.query_bias, weights.query_norm);
    prepare(key, layer.kv_heads, weights.key_bias, weights.key_norm);
    if (config.temperature_scale != 0) {
      const double steps = std::floor(static_cast<double>(position_ + t) /
                                      static_cast<double>(config.temperature_length));
      const double temperature = 1 + config.temperature_scale * std::log(steps + 1);
      ops_.scale(query, static_cast<float>(temperature), layer.query_heads * d);
    }
    if (plan.sinks) {
      float* moved = &sink_queries_[t * layer.query_heads * d];
      std::copy_n(query, layer.query_heads * d, moved);
      std::array<float, kMaxHeadDim> turn;
      (local ? rope_.local : rope_.global)
          .Row(plan.sinks->QueryPosition(position_ + t), turn.data(), turn.data() + pairs);
      rotate_all(moved, layer.query_heads, turn.data(), turn.data() + pairs);
    }
    rotate_all(query, layer.query_heads, cosine + t * pairs, sine + t * pairs);
    rotate_all(key, layer.kv_heads, cosine + t * pairs, sine + t * pairs);
    const std::int64_t value_size = layer.kv_heads * config.value_dim;
    if (!weights.value_bias.empty()) {
      ops_.add(&values_[t * value_size], weights.value_bias.data(), value_size);
    }
  });
}

// x += Wdown (act(Wgate h) * (Wup h)),  h = rms(x)
void Decoder::FeedForwardBlock(const LayerConfig& layer, const LayerWeights& weights) {
  const std::int64_t f = layer.feed_forward;
  Normalize(weights.feed_forward_norm);
  activations_.Set(context_,
                   MakeView<const float>(normed_.data(), tokens_, model_->config.embedding),
                   options_.activations);
  const LinearTask tasks[] = {{&weights.gate, MakeView(gate_.data(), tokens_, f)},
                              {&weights.up, MakeView(up_.data(), tokens_, f)}};
  Linear(context_, activations_, tasks);
  const auto gated = model_->config.architecture->activation == GateActivation::kSilu
                         ? ops_.silu_gate
                         : ops_.gelu_tanh_gate;
  ForRows([&](std::int64_t t) {
    float* gate = &gate_[t * f];
    float* up = &up_[t * f];
    if (!weights.gate_bias.empty()) ops_.add(gate, weights.gate_bias.data(), f);
    if (!weights.up_bias.empty()) ops_.add(up, weights.up_bias.data(), f);
    gated(gate, up, f);
  });
  activations_.Set(context_, MakeView<const float>(gate_.data(), tokens_, f), options_.activations);
  AddOutput(weights.down, weights.down_bias, weights.feed_forward_post_norm);
}

void Decoder::Normalize(const FloatVector& weight) {
  const std::int64_t e = model_->config.embedding;
  const float epsilon = static_cast<float>(model_->config.rms_epsilon);
  ForRows([&](std::int64_t t) {
    ops_.rms_norm(&residual_[t * e], weight.data(), epsilon, e, &normed_[t * e]);
  });
}

// residual += norm(matrix * activations + bias); without a norm the product adds up in place.
void Decoder::AddOutput(const PackedMatrix& matrix, const FloatVector& bias,
                        const FloatVector& post_norm) {
  const std::int64_t e = model_->config.embedding;
  const bool direct = post_norm.empty();
  float* output = direct ? residual_.data() : normed_.data();
  const LinearTask task{&matrix, MakeView(output, tokens_, e), direct};
  Linear(context_, activations_, {&task, 1});
  if (direct && bias.empty()) return;
  const float epsilon = static_cast<float>(model_->config.rms_epsilon);
  ForRows([&](std::int64_t t) {
    float* row = output + t * e;
    if (!bias.empty()) ops_.add(row, bias.data(), e);
    if (direct) return;
    ops_.rms_norm(row, post_norm.data(), epsilon, e, row);
    ops_.add(&residual_[t * e], row, e);
  });
}

void Decoder::Logits(std::int64_t first, View<float, 2> logits) {
  const ModelConfig& config = model_->config;
  const std::int64_t e = config.embedding;
  const std::int64_t rows = logits.shape[0];
  const float epsilon = static_cast<float>(config.rms_epsilon);
  for (std::int64_t t = 0; t < rows; ++t) {
    ops_.rms_norm(&residual_[(first + t) * e], model_->weights.output_norm.data(), epsilon, e,
                  &normed_[t * e]);
  }
  activations_.Set(context_, MakeView<const float>(normed_.data(), rows, e), options_.activations);
  const LinearTask task{&model_->weights.output_matrix(), logits};
  Linear(context_, activations_, {&task, 1});
  if (config.logit_cap == 0) return;
  for (std::int64_t t = 0; t < rows; ++t) {
    ops_.soft_cap(&logits(t, 0), static_cast<float>(config.logit_cap), config.vocabulary);
  }
}

bool Decoder::Rewind(std::int64_t position) {
  if (position < 0 || position > position_) return false;
  for (const KvCache& cache : caches_) {
    if (!cache.CanTruncate(position)) return false;
  }
  for (KvCache& cache : caches_) cache.Truncate(position);
  position_ = position;
  return true;
}

// Calls row(t) for every token of the pass, in parallel where there are enough to share.
template <typename Row>
void Decoder::ForRows(Row&& row) {
  constexpr std::int64_t kBlock = 8;
  if (tokens_ <= kBlock) {
    for (std::int64_t t = 0; t < tokens_; ++t) row(t);
    return;
  }
  context_.pool().ForEach(DivideUp(tokens_, kBlock), [&](std::int64_t block, int) {
    const std::int64_t end = std::min(tokens_, (block + 1) * kBlock);
    for (std::int64_t t = block * kBlock; t < end; ++t) row(t);
  });
}

}  // namespace foveate
