#include "reference/llm_config.h"

#include <algorithm>
#include <cmath>

#include "base/throw.h"

namespace foveate::reference {
namespace {

// Reads keys below the architecture's name.
class Keys {
 public:
  Keys(const GgufFile& file, std::string architecture)
      : file_(file), architecture_(std::move(architecture)) {}

  std::int64_t Int(const std::string& key) const { return Required(key, OptionalInt(key)); }
  double Real(const std::string& key) const { return Required(key, file_.Get<double>(Name(key))); }
  std::int64_t Int(const std::string& key, std::int64_t fallback) const {
    return OptionalInt(key).value_or(fallback);
  }
  double Real(const std::string& key, double fallback) const {
    return file_.Get<double>(Name(key)).value_or(fallback);
  }
  std::string Text(const std::string& key, const std::string& fallback) const {
    const auto text = file_.Get<std::string_view>(Name(key));
    return text ? std::string(*text) : fallback;
  }
  bool Has(const std::string& key) const { return file_.Find(Name(key)) != nullptr; }
  bool IsArray(const std::string& key) const {
    return Has(key) && file_.Find(Name(key))->type == GgufType::kArray;
  }
  std::vector<bool> Bools(const std::string& key) const { return *file_.GetArray<bool>(Name(key)); }

  // One number for each layer, from an array or a scalar.
  std::vector<std::int64_t> PerLayer(const std::string& key, std::int64_t layers) const {
    if (!IsArray(key)) return std::vector<std::int64_t>(layers, Int(key));
    auto values = *file_.GetArray<std::int64_t>(Name(key));
    if (static_cast<std::int64_t>(values.size()) < layers) {
      Throw(ErrorCode::kCorruptFile, "{}: key '{}' has {} numbers for {} layers", file_.path(),
            Name(key), values.size(), layers);
    }
    values.resize(layers);
    return values;
  }

 private:
  std::string Name(const std::string& key) const { return architecture_ + "." + key; }
  std::optional<std::int64_t> OptionalInt(const std::string& key) const {
    return file_.Get<std::int64_t>(Name(key));
  }
  template <typename T>
  T Required(const std::string& key, const std::optional<T>& value) const {
    if (!value) Throw(ErrorCode::kCorruptFile, "{}: missing key '{}'", file_.path(), Name(key));
    return *value;
  }

  const GgufFile& file_;
  std::string architecture_;
};

RopeScaling ParseScaling(const std::string& name, double factor) {
  if (name == "yarn") return RopeScaling::kYarn;
  if (name == "longrope") return RopeScaling::kLongRope;
  if (name == "linear" && factor != 1) return RopeScaling::kLinear;
  if (name == "none" || name == "linear") return RopeScaling::kNone;
  Throw(ErrorCode::kUnsupported, "unknown rope scaling '{}'", name);
}

RopeConfig ReadRope(const Keys& keys, const LlmConfig& config) {
  RopeConfig rope;
  rope.dimensions = keys.Int("rope.dimension_count", config.head_dim);
  rope.base = keys.Real("rope.freq_base", 10000);
  rope.factor = keys.Real("rope.scaling.factor", 1);
  rope.scaling = ParseScaling(keys.Text("rope.scaling.type", "linear"), rope.factor);
  rope.attention_factor = keys.Real("rope.scaling.attn_factor", 1);
  rope.beta_fast = keys.Real("rope.scaling.yarn_beta_fast", 32);
  rope.beta_slow = keys.Real("rope.scaling.yarn_beta_slow", 1);
  rope.extrapolation = keys.Real("rope.scaling.yarn_ext_factor", 1);
  rope.log_multiplier = keys.Real("rope.scaling.yarn_log_multiplier", 0);
  rope.original_context = keys.Int("rope.scaling.original_context_length", config.context);
  return rope;
}

// Layers i with i % period < period - 1 slide, unless the file lists the sliding ones itself.
std::vector<std::int64_t> ReadWindows(const Keys& keys, const LlmConfig& config,
                                      std::int64_t default_window, std::int64_t default_period) {
  const std::string pattern = "attention.sliding_window_pattern";
  const std::int64_t window = keys.Int("attention.sliding_window", default_window);
  std::vector<std::int64_t> windows(config.layers, 0);
  if (keys.IsArray(pattern)) {
    const std::vector<bool> slides = keys.Bools(pattern);
    for (std::int64_t i = 0; i < config.layers; ++i) windows[i] = slides.at(i) ? window : 0;
  } else {
    const std::int64_t period = keys.Int(pattern, default_period);
    for (std::int64_t i = 0; i < config.layers; ++i) {
      windows[i] = i % period < period - 1 ? window : 0;
    }
  }
  return windows;
}

void ApplyGemma(const Keys& keys, LlmConfig& config) {
  const bool second = config.architecture == "gemma2";
  config.rope.adjacent_pairs = false;
  config.post_norms = true;
  config.gelu = true;
  config.head_norms = !second;
  config.embedding_scale = std::sqrt(static_cast<double>(config.embed));
  config.windows = ReadWindows(keys, config, second ? 4096 : 0, second ? 2 : 6);
  config.attention_cap = second ? keys.Real("attn_logit_softcapping", 50) : 0;
  config.final_cap = keys.Real("final_logit_softcapping", second ? 30 : 0);
  // The 27-billion models divide by the width of a head as it would be without key_length.
  if (config.layers == (second ? 46 : 62)) {
    config.score_scale = 1 / std::sqrt(static_cast<double>(config.embed) / config.heads[0]);
  }
  config.sliding_rope = config.rope;
  if (!second) {
    config.sliding_rope.base = keys.Real("rope.freq_base_swa", 10000);
    config.sliding_rope.scaling = RopeScaling::kNone;
  }
}

void ApplyArchitecture(const Keys& keys, LlmConfig& config) {
  const std::string& name = config.architecture;
  if (name == "llama") return;
  if (name == "qwen2" || name == "qwen3") {
    config.rope.adjacent_pairs = false;
    config.head_norms = name == "qwen3";
  } else if (name == "smollm3") {
    config.no_rope_step = 4;
  } else if (name == "mistral3") {
    config.temperature_scale = keys.Real("attention.temperature_scale", 0);
    config.temperature_length =
        keys.Int("attention.temperature_length", config.rope.original_context);
  } else if (name == "gemma2" || name == "gemma3") {
    ApplyGemma(keys, config);
  } else {
    Throw(ErrorCode::kUnsupported, "the reference does not know the architecture '{}'", name);
  }
}

}  // namespace

LlmConfig ReadLlmConfig(const GgufFile& file) {
  const auto architecture = file.Get<std::string_view>("general.architecture");
  const StoredTensor* embedding = file.FindTensor("token_embd.weight");
  if (!architecture || embedding == nullptr) {
    Throw(ErrorCode::kCorruptFile, "{}: no general.architecture or no token_embd.weight",
          file.path());
  }
  LlmConfig config;
  config.architecture = *architecture;
  const Keys keys(file, config.architecture);
  config.layers = keys.Int("block_count");
  config.embed = keys.Int("embedding_length");
  config.vocab = embedding->rows();
  config.context = keys.Int("context_length");
  config.heads = keys.PerLayer("attention.head_count", config.layers);
  config.kv_heads = keys.Has("attention.head_count_kv")
                        ? keys.PerLayer("attention.head_count_kv", config.layers)
                        : config.heads;
  config.head_dim = keys.Int("attention.key_length", config.embed / config.heads.at(0));
  config.value_dim = keys.Int("attention.value_length", config.embed / config.heads.at(0));
  config.norm_epsilon = keys.Real("attention.layer_norm_rms_epsilon");
  config.score_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  config.windows.assign(config.layers, 0);
  config.rope = ReadRope(keys, config);
  ApplyArchitecture(keys, config);
  const double scale = keys.Real("attention.scale", 0);
  if (scale != 0) config.score_scale = scale;
  return config;
}

}  // namespace foveate::reference
