#include "tests/support/tiny_model.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <random>
#include <span>

namespace foveate {
namespace {

// Normal numbers, the same with every standard library.
class Normals {
 public:
  Normals(std::uint64_t seed, const std::string& name) : generator_(Mix(seed, name)) {}

  std::vector<float> Make(std::int64_t count, double mean, double deviation) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) {
      const double radius = std::sqrt(-2 * std::log(Uniform()));
      value = static_cast<float>(mean +
                                 deviation * radius * std::cos(2 * std::numbers::pi * Uniform()));
    }
    return values;
  }

 private:
  static std::uint64_t Mix(std::uint64_t seed, const std::string& name) {  // FNV-1a
    std::uint64_t hash = 0xcbf29ce484222325u ^ seed;
    for (char letter : name) {
      hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
    }
    return hash;
  }
  double Uniform() {  // in (0, 1]
    return (static_cast<double>(generator_() >> 11) + 1) * 0x1p-53;
  }

  std::mt19937_64 generator_;
};

class Builder {
 public:
  explicit Builder(const TinyModelOptions& options) : options_(options) {}

  GgufWriter Build() {
    AddKeys();
    AddTinyTokenizer(writer_, options_.tokenizer, options_.vocab);
    AddMatrix("token_embd", options_.vocab, options_.embed, options_.embedding_type, 4);
    AddNorm("output_norm", options_.embed);
    if (!options_.tied) {
      AddMatrix("output", options_.vocab, options_.embed, options_.output_type, 3);
    }
    for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
      AddAttention(layer);
      AddFeedForward(layer);
    }
    return std::move(writer_);
  }

 private:
  bool Is(const char* architecture) const { return options_.architecture == architecture; }
  bool gemma() const { return Is("gemma2") || Is("gemma3"); }
  std::int64_t value_dim() const {
    return options_.value_dim > 0 ? options_.value_dim : options_.head_dim;
  }
  static std::int64_t At(const std::vector<std::int64_t>& per_layer, std::int64_t layer,
                         std::int64_t otherwise) {
    return per_layer.empty() ? otherwise : per_layer.at(static_cast<std::size_t>(layer));
  }

  std::string Key(const char* name) const { return options_.architecture + "." + name; }
  void AddCount(const char* name, std::int64_t value) {
    writer_.Add(Key(name), static_cast<std::uint32_t>(value));
  }
  void AddReal(const char* name, double value) {
    writer_.Add(Key(name), static_cast<float>(value));
  }
  void AddCounts(const char* name, std::int64_t value, const std::vector<std::int64_t>& per_layer) {
    if (per_layer.empty()) return AddCount(name, value);
    writer_.Add(Key(name), std::vector<std::uint32_t>(per_layer.begin(), per_layer.end()));
  }

  void AddKeys() {
    writer_.Add("general.architecture", options_.architecture);
    writer_.Add("general.name", "tiny " + options_.architecture);
    AddCount("block_count", options_.layers);
    AddCount("context_length", options_.context);
    AddCount("embedding_length", options_.embed);
    AddCounts("feed_forward_length", options_.ffn, options_.layer_ffn);
    AddCounts("attention.head_count", options_.heads, options_.layer_heads);
    AddCounts("attention.head_count_kv", options_.kv_heads, options_.layer_kv_heads);
    AddCount("attention.key_length", options_.head_dim);
    AddCount("attention.value_length", value_dim());
    AddReal("attention.layer_norm_rms_epsilon", options_.norm_epsilon);
    AddReal("rope.freq_base", options_.rope_base);
    if (options_.rope_dimensions > 0) AddCount("rope.dimension_count", options_.rope_dimensions);
    if (options_.window > 0) AddCount("attention.sliding_window", options_.window);
    if (options_.attention_cap > 0) AddReal("attn_logit_softcapping", options_.attention_cap);
    if (options_.final_cap > 0) AddReal("final_logit_softcapping", options_.final_cap);
  }

  // Normal numbers of deviation gain / sqrt(columns): a product keeps the size of its input.
  std::vector<float> Numbers(const std::string& name, std::int64_t rows, std::int64_t columns,
                             double gain) const {
    return Normals(options_.seed, name)
        .Make(rows * columns, 0, gain / std::sqrt(static_cast<double>(columns)));
  }
  void AddMatrix(const std::string& name, std::int64_t rows, std::int64_t columns, TensorType type,
                 double gain) {
    writer_.AddTensorF32(name + ".weight", {rows, columns}, Numbers(name, rows, columns, gain),
                         type);
  }
  void AddNorm(const std::string& name, std::int64_t width) {
    writer_.AddTensorF32(name + ".weight", {width},
                         Normals(options_.seed, name).Make(width, 1, 0.2));
  }
  std::vector<float> BiasNumbers(const std::string& name, std::int64_t width) const {
    return Normals(options_.seed, name + ".bias").Make(width, 0, 0.3);
  }
  void AddBias(const std::string& name, std::int64_t width) {
    writer_.AddTensorF32(name + ".bias", {width}, BiasNumbers(name, width));
  }

  void AddAttention(std::int64_t layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    AddNorm(block + "attn_norm", options_.embed);
    AddQkv(block, layer);
    if (Is("qwen3") || Is("gemma3")) {
      AddNorm(block + "attn_q_norm", options_.head_dim);
      AddNorm(block + "attn_k_norm", options_.head_dim);
    }
    const std::int64_t heads = At(options_.layer_heads, layer, options_.heads);
    AddMatrix(block + "attn_output", options_.embed, heads * value_dim(), options_.attention_type,
              1);
    if (options_.all_biases) AddBias(block + "attn_output", options_.embed);
    if (gemma()) AddNorm(block + "post_attention_norm", options_.embed);
  }

  void AddQkv(const std::string& block, std::int64_t layer) {
    const std::int64_t heads = At(options_.layer_heads, layer, options_.heads);
    const std::int64_t kv_heads = At(options_.layer_kv_heads, layer, options_.kv_heads);
    const bool biases = options_.qkv_biases || options_.all_biases || Is("qwen2");
    std::vector<float> fused;
    std::vector<float> fused_bias;
    for (auto [name, rows] : {std::pair{"attn_q", heads * options_.head_dim},
                              std::pair{"attn_k", kv_heads * options_.head_dim},
                              std::pair{"attn_v", kv_heads * value_dim()}}) {
      // Gain 1.5 makes attention pick keys instead of averaging all of them.
      const std::vector<float> numbers = Numbers(block + name, rows, options_.embed, 1.5);
      const std::vector<float> bias = BiasNumbers(block + name, rows);
      fused.insert(fused.end(), numbers.begin(), numbers.end());
      fused_bias.insert(fused_bias.end(), bias.begin(), bias.end());
      if (options_.fused_qkv) continue;
      writer_.AddTensorF32(block + name + ".weight", {rows, options_.embed}, numbers,
                           options_.attention_type);
      if (biases) writer_.AddTensorF32(block + name + ".bias", {rows}, bias);
    }
    if (!options_.fused_qkv) return;
    const auto rows = static_cast<std::int64_t>(fused_bias.size());
    writer_.AddTensorF32(block + "attn_qkv.weight", {rows, options_.embed}, fused,
                         options_.attention_type);
    if (biases) writer_.AddTensorF32(block + "attn_qkv.bias", {rows}, fused_bias);
  }

  void AddFeedForward(std::int64_t layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    const std::int64_t ffn = At(options_.layer_ffn, layer, options_.ffn);
    AddNorm(block + "ffn_norm", options_.embed);
    for (const char* name : {"ffn_gate", "ffn_up"}) {
      AddMatrix(block + name, ffn, options_.embed, options_.ffn_type, 1);
      if (options_.all_biases) AddBias(block + name, ffn);
    }
    AddMatrix(block + "ffn_down", options_.embed, ffn, options_.ffn_type, 1.5);
    if (options_.all_biases) AddBias(block + "ffn_down", options_.embed);
    if (gemma()) AddNorm(block + "post_ffw_norm", options_.embed);
  }

  const TinyModelOptions& options_;
  GgufWriter writer_;
};

}  // namespace

GgufWriter MakeTinyModel(const TinyModelOptions& options) { return Builder(options).Build(); }

}  // namespace foveate
