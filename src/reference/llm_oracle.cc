#include "reference/llm_oracle.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/throw.h"
#include "format/quant.h"

namespace foveate::reference {
namespace {

std::string LayerName(std::int64_t layer, const char* name) {
  return fmt::format("blk.{}.{}", layer, name);
}

// Row `row` of a matrix, widened.
void ReadRow(const StoredTensor& tensor, std::int64_t row, std::vector<float>& values) {
  // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a tensor that is read has rows.
  const std::size_t row_bytes = tensor.bytes.size() / static_cast<std::size_t>(tensor.rows());
  values.resize(static_cast<std::size_t>(tensor.columns()));
  DequantizeRow(tensor.type, tensor.bytes.data() + static_cast<std::size_t>(row) * row_bytes,
                values);
}

double Silu(double z) { return z / (1 + std::exp(-z)); }

double TanhGelu(double z) {
  const double inner = std::sqrt(2 * std::numbers::inv_pi) * (z + 0.044715 * z * z * z);
  return 0.5 * z * (1 + std::tanh(inner));
}

double SoftCap(double value, double cap) { return cap > 0 ? cap * std::tanh(value / cap) : value; }

void AddTo(std::vector<double>& x, const std::vector<double>& more) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += more[i];
}

// The columns [begin, begin + width) of x [n, columns].
std::vector<double> Columns(const std::vector<double>& x, std::int64_t columns, std::int64_t begin,
                            std::int64_t width) {
  std::vector<double> out;
  for (auto row = x.begin(); row != x.end(); row += columns) {
    out.insert(out.end(), row + begin, row + begin + width);
  }
  return out;
}

// x / sqrt(mean(x^2) + epsilon) * weight for each stretch of weight.size() numbers.
void NormRows(std::vector<double>& x, const std::vector<double>& weight, double epsilon) {
  const std::size_t width = weight.size();
  for (std::size_t row = 0; row < x.size(); row += width) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += x[row + i] * x[row + i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (std::size_t i = 0; i < width; ++i) x[row + i] *= scale * weight[i];
  }
}

// Turns scores into weights that sum to one.
void Softmax(std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  for (double& score : scores) score /= sum;
}

// The same rotation with the scaling of `options` in place of every scaling key of the file.
RopeConfig Rescaled(const RopeConfig& rope, const OracleOptions& options) {
  return {.dimensions = rope.dimensions,
          .base = rope.base,
          .adjacent_pairs = rope.adjacent_pairs,
          .scaling = *options.rope_scaling,
          .factor = options.rope_factor,
          .original_context = rope.original_context};
}

}  // namespace

LlmOracle::LlmOracle(const GgufFile& file, const OracleOptions& options)
    : file_(file), config_(ReadLlmConfig(file)) {
  if (options.rope_scaling) {
    config_.rope = Rescaled(config_.rope, options);
    const bool exempt = config_.architecture == "gemma3";
    if (!exempt) config_.sliding_rope = Rescaled(config_.sliding_rope, options);
  }
  std::string divisors = "rope_freqs.weight";
  if (config_.rope.scaling == RopeScaling::kLongRope) {
    const std::int64_t context = options.context > 0 ? options.context : config_.context;
    divisors = context > config_.rope.original_context ? "rope_factors_long.weight"
                                                       : "rope_factors_short.weight";
  }
  const bool divided = file.FindTensor(divisors) != nullptr;
  rope_ = MakeRope(config_.rope, divided ? Vector(divisors) : std::vector<double>());
  sliding_rope_ = MakeRope(config_.sliding_rope, {});
}

const StoredTensor& LlmOracle::Tensor(const std::string& name) const {
  const StoredTensor* tensor = file_.FindTensor(name);
  if (tensor == nullptr) {
    Throw(ErrorCode::kCorruptFile, "{}: missing tensor '{}'", file_.path(), name);
  }
  return *tensor;
}

std::vector<double> LlmOracle::Vector(const std::string& name) const {
  std::vector<float> values;
  ReadRow(Tensor(name), 0, values);
  return {values.begin(), values.end()};
}

// y [n, out] = W x + b with x [n, in]; W is `name`.weight [out, in], b the optional `name`.bias.
LlmOracle::Matrix LlmOracle::Linear(const Matrix& x, const std::string& name) const {
  const StoredTensor& weight = Tensor(name + ".weight");
  const std::int64_t in = weight.columns();
  const std::int64_t out = weight.rows();
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / in;
  Matrix y(static_cast<std::size_t>(n * out));
  std::vector<float> row;
  for (std::int64_t o = 0; o < out; ++o) {
    ReadRow(weight, o, row);
    for (std::int64_t t = 0; t < n; ++t) {
      double sum = 0;
      for (std::int64_t i = 0; i < in; ++i) sum += x[t * in + i] * row[i];
      y[t * out + o] = sum;
    }
  }
  if (file_.FindTensor(name + ".bias") != nullptr) {
    const std::vector<double> bias = Vector(name + ".bias");
    for (std::int64_t t = 0; t < n; ++t) {
      for (std::int64_t o = 0; o < out; ++o) y[t * out + o] += bias[o];
    }
  }
  return y;
}

LlmOracle::Matrix LlmOracle::RmsNorm(Matrix x, const std::string& weight) const {
  NormRows(x, Vector(weight), config_.norm_epsilon);
  return x;
}

// x [n, E]
LlmOracle::Matrix LlmOracle::Embed(std::span<const std::int32_t> tokens) const {
  const StoredTensor& embedding = Tensor("token_embd.weight");
  Matrix x;
  std::vector<float> row;
  for (std::int32_t token : tokens) {
    if (token < 0 || token >= config_.vocab) {
      Throw(ErrorCode::kInvalidArgument, "token {} is outside the vocabulary of {}", token,
            config_.vocab);
    }
    ReadRow(embedding, token, row);
    for (float value : row) x.push_back(value * config_.embedding_scale);
  }
  return x;
}

// h [n, E] -> queries, keys, values; from one fused matrix (rows of q, then k, then v) or from
// three.
LlmOracle::Heads LlmOracle::ProjectHeads(const Matrix& h, std::int64_t layer) const {
  if (file_.FindTensor(LayerName(layer, "attn_qkv.weight")) == nullptr) {
    return {Linear(h, LayerName(layer, "attn_q")), Linear(h, LayerName(layer, "attn_k")),
            Linear(h, LayerName(layer, "attn_v"))};
  }
  const std::int64_t q_width = config_.heads[layer] * config_.head_dim;
  const std::int64_t k_width = config_.kv_heads[layer] * config_.head_dim;
  const std::int64_t v_width = config_.kv_heads[layer] * config_.value_dim;
  const std::int64_t width = q_width + k_width + v_width;
  const Matrix fused = Linear(h, LayerName(layer, "attn_qkv"));
  return {Columns(fused, width, 0, q_width), Columns(fused, width, q_width, k_width),
          Columns(fused, width, q_width + k_width, v_width)};
}

// One weight [D] serves all heads.
void LlmOracle::NormHeads(Heads& heads, std::int64_t layer) const {
  NormRows(heads.q, Vector(LayerName(layer, "attn_q_norm.weight")), config_.norm_epsilon);
  NormRows(heads.k, Vector(LayerName(layer, "attn_k_norm.weight")), config_.norm_epsilon);
}

// Rotates queries and keys by their position, and sharpens far queries where the model asks for it:
// q *= 1 + scale * ln(1 + floor(position / length)).
void LlmOracle::PlaceHeads(Heads& heads, std::int64_t layer) const {
  const std::int64_t step = config_.no_rope_step;
  const bool rotates = step == 0 || (layer + 1) % step != 0;
  const Rope& rope = config_.windows[layer] > 0 ? sliding_rope_ : rope_;
  for (auto [matrix, head_count] :
       {std::pair{&heads.q, config_.heads[layer]}, std::pair{&heads.k, config_.kv_heads[layer]}}) {
    const std::int64_t all = static_cast<std::int64_t>(matrix->size()) / config_.head_dim;
    for (std::int64_t index = 0; rotates && index < all; ++index) {
      rope.Rotate(
          {matrix->data() + index * config_.head_dim, static_cast<std::size_t>(config_.head_dim)},
          index / head_count);
    }
  }
  if (config_.temperature_scale == 0) return;
  const std::int64_t width = config_.heads[layer] * config_.head_dim;
  for (std::size_t i = 0; i < heads.q.size(); ++i) {
    const auto position = static_cast<std::int64_t>(i) / width;
    const std::int64_t whole = position / config_.temperature_length;
    const auto bucket = static_cast<double>(whole);
    heads.q[i] *= 1 + config_.temperature_scale * std::log(1 + bucket);
  }
}

// Causal attention, within the layer's window if it has one: [n, H, Dv].
LlmOracle::Matrix LlmOracle::Attend(const Heads& heads, std::int64_t layer) const {
  const std::int64_t head_count = config_.heads[layer];
  const std::int64_t kv_count = config_.kv_heads[layer];
  const std::int64_t d = config_.head_dim;
  const std::int64_t dv = config_.value_dim;
  const std::int64_t n = static_cast<std::int64_t>(heads.q.size()) / (head_count * d);
  const std::int64_t window = config_.windows[layer];
  Matrix out(static_cast<std::size_t>(n * head_count * dv), 0.0);
  std::vector<double> weights;
  for (std::int64_t t = 0; t < n; ++t) {
    const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, t - window + 1) : 0;
    for (std::int64_t head = 0; head < head_count; ++head) {
      const std::int64_t kv = head * kv_count / head_count;
      const double* q = &heads.q[(t * head_count + head) * d];
      weights.clear();
      for (std::int64_t j = first; j <= t; ++j) {
        const double* k = &heads.k[(j * kv_count + kv) * d];
        double dot = 0;
        for (std::int64_t i = 0; i < d; ++i) dot += q[i] * k[i];
        weights.push_back(SoftCap(dot * config_.score_scale, config_.attention_cap));
      }
      Softmax(weights);
      double* o = &out[(t * head_count + head) * dv];
      for (std::int64_t j = first; j <= t; ++j) {
        const double* v = &heads.v[(j * kv_count + kv) * dv];
        for (std::int64_t i = 0; i < dv; ++i) o[i] += weights[j - first] * v[i];
      }
    }
  }
  return out;
}

// What the attention block adds to x [n, E].
LlmOracle::Matrix LlmOracle::Attention(const Matrix& x, std::int64_t layer) const {
  Heads heads = ProjectHeads(RmsNorm(x, LayerName(layer, "attn_norm.weight")), layer);
  if (config_.head_norms) NormHeads(heads, layer);
  PlaceHeads(heads, layer);
  Matrix out = Linear(Attend(heads, layer), LayerName(layer, "attn_output"));
  if (!config_.post_norms) return out;
  return RmsNorm(std::move(out), LayerName(layer, "post_attention_norm.weight"));
}

// What the feed-forward block adds to x [n, E].
LlmOracle::Matrix LlmOracle::FeedForward(const Matrix& x, std::int64_t layer) const {
  const Matrix h = RmsNorm(x, LayerName(layer, "ffn_norm.weight"));
  Matrix gate = Linear(h, LayerName(layer, "ffn_gate"));  // [n, F]
  const Matrix up = Linear(h, LayerName(layer, "ffn_up"));
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gate[i] = (config_.gelu ? TanhGelu(gate[i]) : Silu(gate[i])) * up[i];
  }
  Matrix out = Linear(gate, LayerName(layer, "ffn_down"));
  if (!config_.post_norms) return out;
  return RmsNorm(std::move(out), LayerName(layer, "post_ffw_norm.weight"));
}

std::vector<double> LlmOracle::Logits(std::span<const std::int32_t> tokens,
                                      std::int64_t first_row) const {
  Matrix x = Embed(tokens);
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
    AddTo(x, Attention(x, layer));
    AddTo(x, FeedForward(x, layer));
  }
  x.erase(x.begin(), x.begin() + first_row * config_.embed);
  const bool tied = file_.FindTensor("output.weight") == nullptr;
  Matrix logits = Linear(RmsNorm(x, "output_norm.weight"), tied ? "token_embd" : "output");
  for (double& logit : logits) logit = SoftCap(logit, config_.final_cap);
  return logits;
}

}  // namespace foveate::reference
