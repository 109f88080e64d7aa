#include "model/weights.h"

#include <fmt/ranges.h>

#include <string>

#include "base/throw.h"
#include "format/quant.h"

namespace foveate {
namespace {

// Takes tensors of the file by name, checking extents, and packs or widens them.
class WeightLoader {
 public:
  WeightLoader(Context& context, const GgufFile& file, Slab& memory, const LoadProgress& progress)
      : context_(context), file_(file), memory_(memory), progress_(progress) {
    for (const StoredTensor& tensor : file.tensors()) total_bytes_ += tensor.bytes.size();
  }

  PackedMatrix Matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return Pack(Require(name, {rows, columns}));
  }

  PackedMatrix OptionalMatrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return file_.FindTensor(name) == nullptr ? PackedMatrix() : Matrix(name, rows, columns);
  }

  // Rows [first, first + rows) of a tensor that stacks several matrices.
  PackedMatrix Slice(const std::string& name, std::int64_t total_rows, std::int64_t first,
                     std::int64_t rows, std::int64_t columns) {
    StoredTensor part = Require(name, {total_rows, columns});
    const std::int64_t row_bytes = static_cast<std::int64_t>(part.bytes.size()) / total_rows;
    part.bytes = part.bytes.subspan(first * row_bytes, rows * row_bytes);
    part.shape = {rows, columns};
    return Pack(part);
  }

  FloatVector Vector(const std::string& name, std::int64_t size) {
    const StoredTensor& tensor = Require(name, {size});
    FloatVector values(size);
    DequantizeRow(tensor.type, tensor.bytes.data(), values);
    return values;
  }

  FloatVector OptionalVector(const std::string& name, std::int64_t size) {
    return file_.FindTensor(name) == nullptr ? FloatVector() : Vector(name, size);
  }

  bool Has(const std::string& name) const { return file_.FindTensor(name) != nullptr; }

 private:
  const StoredTensor& Require(const std::string& name, const std::vector<std::int64_t>& shape) {
    const StoredTensor* tensor = file_.FindTensor(name);
    if (tensor == nullptr) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' is missing", file_.path(), name);
    }
    if (tensor->shape != shape) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' has extents [{}], expected [{}]",
            file_.path(), name, fmt::join(tensor->shape, ", "), fmt::join(shape, ", "));
    }
    if (!CanDequantize(tensor->type)) {
      Throw(ErrorCode::kUnsupported, "{}: tensor '{}' has type {}, which weights cannot have",
            file_.path(), name, TensorTypeName(tensor->type));
    }
    return *tensor;
  }

  PackedMatrix Pack(const StoredTensor& tensor) {
    StoredTensor done = tensor;
    PackedMatrix matrix = PackedMatrix::Pack(
        context_, tensor,
        [&](std::span<const std::byte> part) {
          done.bytes = part;
          file_.Release(done);
        },
        &memory_);
    done_bytes_ += tensor.bytes.size();
    if (progress_) progress_(static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_));
    return matrix;
  }

  Context& context_;
  const GgufFile& file_;
  Slab& memory_;
  const LoadProgress& progress_;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
};

void LoadAttention(WeightLoader& load, const ModelConfig& config, const LayerConfig& layer,
                   const std::string& prefix, LayerWeights& weights) {
  const std::int64_t e = config.embedding;
  const std::int64_t q_rows = layer.query_heads * config.key_dim;
  const std::int64_t k_rows = layer.kv_heads * config.key_dim;
  const std::int64_t v_rows = layer.kv_heads * config.value_dim;
  weights.attention_norm = load.Vector(prefix + "attn_norm.weight", e);
  if (const std::string fused = prefix + "attn_qkv.weight"; load.Has(fused)) {
    const std::int64_t total = q_rows + k_rows + v_rows;
    weights.query = load.Slice(fused, total, 0, q_rows, e);
    weights.key = load.Slice(fused, total, q_rows, k_rows, e);
    weights.value = load.Slice(fused, total, q_rows + k_rows, v_rows, e);
    const FloatVector bias = load.OptionalVector(prefix + "attn_qkv.bias", total);
    if (!bias.empty()) {
      weights.query_bias.assign(bias.begin(), bias.begin() + q_rows);
      weights.key_bias.assign(bias.begin() + q_rows, bias.begin() + q_rows + k_rows);
      weights.value_bias.assign(bias.begin() + q_rows + k_rows, bias.end());
    }
  } else {
    weights.query = load.Matrix(prefix + "attn_q.weight", q_rows, e);
    weights.key = load.Matrix(prefix + "attn_k.weight", k_rows, e);
    weights.value = load.Matrix(prefix + "attn_v.weight", v_rows, e);
    weights.query_bias = load.OptionalVector(prefix + "attn_q.bias", q_rows);
    weights.key_bias = load.OptionalVector(prefix + "attn_k.bias", k_rows);
    weights.value_bias = load.OptionalVector(prefix + "attn_v.bias", v_rows);
  }
  if (config.architecture->head_norms) {
    weights.query_norm = load.Vector(prefix + "attn_q_norm.weight", config.key_dim);
    weights.key_norm = load.Vector(prefix + "attn_k_norm.weight", config.key_dim);
  }
  weights.attention_output =
      load.Matrix(prefix + "attn_output.weight", e, layer.query_heads * config.value_dim);
  weights.attention_output_bias = load.OptionalVector(prefix + "attn_output.bias", e);
  if (config.architecture->post_norms) {
    weights.attention_post_norm = load.Vector(prefix + "post_attention_norm.weight", e);
  }
}

void LoadFeedForward(WeightLoader& load, const ModelConfig& config, const LayerConfig& layer,
                     const std::string& prefix, LayerWeights& weights) {
  const std::int64_t e = config.embedding;
  const std::int64_t f = layer.feed_forward;
  weights.feed_forward_norm = load.Vector(prefix + "ffn_norm.weight", e);
  weights.gate = load.Matrix(prefix + "ffn_gate.weight", f, e);
  weights.up = load.Matrix(prefix + "ffn_up.weight", f, e);
  weights.down = load.Matrix(prefix + "ffn_down.weight", e, f);
  weights.gate_bias = load.OptionalVector(prefix + "ffn_gate.bias", f);
  weights.up_bias = load.OptionalVector(prefix + "ffn_up.bias", f);
  weights.down_bias = load.OptionalVector(prefix + "ffn_down.bias", e);
  if (config.architecture->post_norms) {
    weights.feed_forward_post_norm = load.Vector(prefix + "post_ffw_norm.weight", e);
  }
}

}  // namespace

std::int64_t ModelWeights::bytes() const {
  std::int64_t sum = embedding.bytes() + output.bytes();
  for (const LayerWeights& layer : layers) {
    for (const PackedMatrix* matrix :
         {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.up,
          &layer.down}) {
      sum += matrix->bytes();
    }
  }
  return sum;
}

ModelWeights LoadWeights(Context& context, const GgufFile& file, const ModelConfig& config,
                         const LoadProgress& progress) {
  ModelWeights weights;
  WeightLoader load(context, file, weights.memory, progress);
  weights.embedding = load.Matrix("token_embd.weight", config.vocabulary, config.embedding);
  weights.output = load.OptionalMatrix("output.weight", config.vocabulary, config.embedding);
  weights.output_norm = load.Vector("output_norm.weight", config.embedding);
  weights.layers.resize(config.layers.size());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    LoadAttention(load, config, config.layers[i], prefix, weights.layers[i]);
    LoadFeedForward(load, config, config.layers[i], prefix, weights.layers[i]);
  }
  return weights;
}

}  // namespace foveate
