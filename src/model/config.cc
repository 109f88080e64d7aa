#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxEmbedding = 65536;
constexpr std::int64_t kMaxHeads = 1024;
constexpr std::int64_t kMaxHeadDim = 512;
constexpr std::int64_t kMaxFeedForward = 1 << 20;
constexpr std::int64_t kMaxVocabulary = 4194304;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;

// Reads `<architecture>.<key>` metadata with range checks; every error names file and key.
class KeyReader {
 public:
  KeyReader(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  std::string Key(std::string_view key) const { return prefix_ + std::string(key); }

  std::int64_t Integer(std::string_view key, std::optional<std::int64_t> fallback,
                       std::int64_t most) const {
    const auto found = file_.Get<std::int64_t>(Key(key));
    if (!found && !fallback) Fail(key, "is missing");
    return Checked(key, found.value_or(fallback.value_or(0)), most);
  }

  // One value for all layers or an array with one per layer.
  std::vector<std::int64_t> PerLayer(std::string_view key, std::int64_t layers,
                                     std::optional<std::vector<std::int64_t>> fallback,
                                     std::int64_t most) const {
    const GgufValue* value = file_.Find(Key(key));
    if (value == nullptr) {
      if (!fallback) Fail(key, "is missing");
      return *fallback;
    }
    if (value->type != GgufType::kArray) {
      return std::vector<std::int64_t>(layers, Integer(key, std::nullopt, most));
    }
    const auto values = *file_.GetArray<std::int64_t>(Key(key));
    if (static_cast<std::int64_t>(values.size()) != layers) {
      Fail(key, fmt::format("has {} values for {} layers", values.size(), layers));
    }
    for (std::int64_t each : values) Checked(key, each, most);
    return values;
  }

  double Real(std::string_view key, double fallback) const {
    const double value = file_.Get<double>(Key(key)).value_or(fallback);
    if (!std::isfinite(value) || value < 0) {
      Fail(key, fmt::format("is {}, expected a finite number >= 0", value));
    }
    return value;
  }

  bool Has(std::string_view key) const { return file_.Find(Key(key)) != nullptr; }

  [[noreturn]] void Fail(std::string_view key, const std::string& problem) const {
    Throw(ErrorCode::kCorruptFile, "{}: '{}' {}", file_.path(), Key(key), problem);
  }

 private:
  std::int64_t Checked(std::string_view key, std::int64_t value, std::int64_t most) const {
    if (value < 1 || value > most) {
      Fail(key, fmt::format("is {}, expected 1 to {}", value, most));
    }
    return value;
  }

  const GgufFile& file_;
  std::string prefix_;
};

RopeScaling ReadRopeScaling(const GgufFile& file, const KeyReader& keys, std::int64_t context) {
  RopeScaling scaling;
  const std::string type(
      file.Get<std::string_view>(keys.Key("rope.scaling.type")).value_or("linear"));
  scaling.factor = keys.Real("rope.scaling.factor", 1);
  if (scaling.factor == 0) scaling.factor = 1;
  if (type == "none") {
    scaling.type = RopeScalingType::kNone;
  } else if (type == "linear") {
    scaling.type = scaling.factor == 1 ? RopeScalingType::kNone : RopeScalingType::kLinear;
  } else if (type == "yarn") {
    scaling.type = RopeScalingType::kYarn;
  } else if (type == "longrope") {
    scaling.type = RopeScalingType::kLongRope;
  } else {
    keys.Fail("rope.scaling.type",
              fmt::format("is '{}', expected none, linear, yarn or longrope", type));
  }
  scaling.original_context =
      keys.Integer("rope.scaling.original_context_length", context, kMaxContext);
  scaling.attention_factor = keys.Real("rope.scaling.attn_factor", 1);
  scaling.beta_fast = keys.Real("rope.scaling.yarn_beta_fast", 32);
  scaling.beta_slow = keys.Real("rope.scaling.yarn_beta_slow", 1);
  scaling.log_multiplier = keys.Real("rope.scaling.yarn_log_multiplier", 0);
  return scaling;
}

// Which layers slide: a period or one boolean per layer in the file, else the architecture's
// period.
void ReadWindows(const GgufFile& file, const KeyReader& keys, ModelConfig& config) {
  const Architecture& architecture = *config.architecture;
  const GgufValue* pattern = file.Find(keys.Key("attention.sliding_window_pattern"));
  if (architecture.window_period == 0 && pattern == nullptr) return;  // a dense family
  const std::string key = "attention.sliding_window";
  const std::int64_t given =
      file.Get<std::int64_t>(keys.Key(key)).value_or(architecture.default_window);
  if (given == 0) return;  // converters write it for "none"
  const std::int64_t window = keys.Integer(key, given, kMaxContext);
  const std::int64_t layers = static_cast<std::int64_t>(config.layers.size());
  std::vector<bool> slides(layers, architecture.window_period == 0);
  if (pattern != nullptr && pattern->type == GgufType::kArray) {
    const auto flags = *file.GetArray<bool>(keys.Key("attention.sliding_window_pattern"));
    if (static_cast<std::int64_t>(flags.size()) != layers) {
      keys.Fail("attention.sliding_window_pattern",
                fmt::format("has {} values for {} layers", flags.size(), layers));
    }
    slides = flags;
  } else {
    const std::int64_t period =
        pattern != nullptr
            ? keys.Integer("attention.sliding_window_pattern", std::nullopt, kMaxLayers)
            : architecture.window_period;
    if (period > 0) {
      for (std::int64_t layer = 0; layer < layers; ++layer) {
        slides[layer] = layer % period < period - 1;
      }
    }
  }
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (slides[layer]) config.layers[layer].window = window;
  }
}

void ReadHeads(const KeyReader& keys, std::int64_t layers, ModelConfig& config) {
  const auto query_heads = keys.PerLayer("attention.head_count", layers, std::nullopt, kMaxHeads);
  const auto kv_heads = keys.PerLayer("attention.head_count_kv", layers, query_heads, kMaxHeads);
  const auto feed_forward =
      keys.PerLayer("feed_forward_length", layers, std::nullopt, kMaxFeedForward);
  config.layers.resize(layers);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (query_heads[layer] % kv_heads[layer] != 0) {
      keys.Fail("attention.head_count", fmt::format("is {} in layer {}, not a multiple of the {} "
                                                    "key/value heads",
                                                    query_heads[layer], layer, kv_heads[layer]));
    }
    config.layers[layer] = {.query_heads = query_heads[layer],
                            .kv_heads = kv_heads[layer],
                            .feed_forward = feed_forward[layer]};
    const std::int64_t period = config.architecture->no_rope_period;
    config.layers[layer].rotates = period == 0 || (layer + 1) % period != 0;
  }
}

template <typename Field>
std::int64_t MaxOver(const std::vector<LayerConfig>& layers, Field field) {
  std::int64_t most = 0;
  for (const LayerConfig& layer : layers) most = std::max(most, layer.*field);
  return most;
}

}  // namespace

std::int64_t ModelConfig::max_query_heads() const {
  return MaxOver(layers, &LayerConfig::query_heads);
}
std::int64_t ModelConfig::max_kv_heads() const { return MaxOver(layers, &LayerConfig::kv_heads); }
std::int64_t ModelConfig::max_feed_forward() const {
  return MaxOver(layers, &LayerConfig::feed_forward);
}

ModelConfig ReadModelConfig(const GgufFile& file) {
  const auto architecture = file.Get<std::string_view>("general.architecture");
  if (!architecture) {
    Throw(ErrorCode::kCorruptFile, "{}: 'general.architecture' is missing", file.path());
  }
  ModelConfig config;
  config.architecture = &FindArchitecture(*architecture);
  config.name = std::string(file.Get<std::string_view>("general.name").value_or(""));
  const KeyReader keys(file, *architecture);
  if (file.Get<std::int64_t>(keys.Key("expert_count")).value_or(0) > 0) {
    Throw(ErrorCode::kUnsupported, "{}: mixture-of-experts models are not supported", file.path());
  }

  const std::int64_t layers = keys.Integer("block_count", std::nullopt, kMaxLayers);
  config.context = keys.Integer("context_length", std::nullopt, kMaxContext);
  config.embedding = keys.Integer("embedding_length", std::nullopt, kMaxEmbedding);
  ReadHeads(keys, layers, config);
  const std::int64_t heads = config.layers[0].query_heads;
  if (!keys.Has("attention.key_length") && config.embedding % heads != 0) {
    keys.Fail("embedding_length", fmt::format("is {}, not a multiple of the {} heads, and there is "
                                              "no attention.key_length",
                                              config.embedding, heads));
  }
  config.key_dim = keys.Integer("attention.key_length", config.embedding / heads, kMaxHeadDim);
  config.value_dim = keys.Integer("attention.value_length", config.embedding / heads, kMaxHeadDim);
  config.rope_dim = keys.Integer("rope.dimension_count", config.key_dim, config.key_dim);
  if (config.rope_dim % 2 != 0) {
    keys.Fail("rope.dimension_count",
              fmt::format("is {}, expected an even number", config.rope_dim));
  }
  if (!keys.Has("attention.layer_norm_rms_epsilon")) {
    keys.Fail("attention.layer_norm_rms_epsilon", "is missing");
  }
  config.rms_epsilon = keys.Real("attention.layer_norm_rms_epsilon", 0);

  const Architecture& traits = *config.architecture;
  config.score_scale = keys.Real("attention.scale", 0);
  if (config.score_scale == 0) {
    const bool by_embedding =
        traits.embedding_scale_layers != 0 && layers == traits.embedding_scale_layers;
    const double dim = by_embedding ? static_cast<double>(config.embedding) / heads
                                    : static_cast<double>(config.key_dim);
    config.score_scale = 1 / std::sqrt(dim);
  }
  config.score_cap = keys.Real("attn_logit_softcapping", traits.default_score_cap);
  config.logit_cap = keys.Real("final_logit_softcapping", traits.default_logit_cap);

  config.rope_base = keys.Real("rope.freq_base", 10000);
  if (config.rope_base == 0) config.rope_base = 10000;
  config.local_rope_base =
      traits.local_rope_base == 0 ? 0 : keys.Real("rope.freq_base_swa", traits.local_rope_base);
  config.rope_scaling = ReadRopeScaling(file, keys, config.context);
  config.temperature_scale = keys.Real("attention.temperature_scale", 0);
  config.temperature_length = config.rope_scaling.original_context;
  ReadWindows(file, keys, config);

  const StoredTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) {
    Throw(ErrorCode::kCorruptFile, "{}: tensor 'token_embd.weight' is missing", file.path());
  }
  config.vocabulary = embedding->rows();
  if (config.vocabulary < 1 || config.vocabulary > kMaxVocabulary) {
    Throw(ErrorCode::kCorruptFile, "{}: tensor 'token_embd.weight' has {} rows, expected 1 to {}",
          file.path(), config.vocabulary, kMaxVocabulary);
  }
  return config;
}

const char* RopeScalingName(RopeScalingType type) {
  switch (type) {
    case RopeScalingType::kNone: return "none";
    case RopeScalingType::kLinear: return "linear";
    case RopeScalingType::kNtk: return "ntk";
    case RopeScalingType::kYarn: return "yarn";
    case RopeScalingType::kLongRope: return "longrope";
  }
  return "unknown";
}

}  // namespace foveate
