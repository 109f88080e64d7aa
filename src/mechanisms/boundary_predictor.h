// A small trained network that finds the borders of chunks of keys, that of DHSA: Xiong et al.
// 2025, "Long-Context Modeling with Dynamic Hierarchical Sparse Attention for On-Device LLMs"
// (arXiv 2510.24606).
//
// Whether to cut behind key t is told from the keys t - w + 1 to t + w, those of all KV heads end
// to end (C channels) and zeros outside of the sequence:
//
//   y = norm(attention(keys))             multi-head self attention among the 2w, no residual
//   l, r = pool(first w), pool(last w)    the mean, or weighted by softmax(gate y)
//   logit = W2 relu(W1 [l, r, |l - r|, l r, cos(l, r)] + b1) + b2
//
// Queries, keys, values and their products are computed once for all windows that they lie in, so
// that a key costs (3 + 2w) C^2 + (4w^2 + 4w) C + 4 C d multiplications, d the hidden units.
//
//   const BoundaryPredictor predictor(SafetensorsFile::Open("predictor.safetensors"));
//   std::vector<float> logits = predictor.Logits(context, keys);  // of a cut behind each key
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention/ranges.h"
#include "base/buffer.h"
#include "base/context.h"
#include "base/tensor.h"
#include "format/safetensors.h"
#include "kernels/layers.h"
#include "kernels/vector_ops.h"

namespace foveate {

class BoundaryPredictor {
 public:
  // The tensors are those of the PyTorch module by their names, enc.mha.in_proj_weight to
  // mlp.2.bias, and pool.gate.weight if it pools by weight; the metadata are w and heads. Throws
  // Error(kCorruptFile) naming file, tensor and what was expected, kUnsupported for a type without
  // numbers.
  explicit BoundaryPredictor(const SafetensorsFile& file);

  std::int64_t window() const { return window_; }  // w

  // Of keys [L, C]. Throws Error(kInvalidArgument) for another number of channels.
  std::vector<float> Logits(Context& context, const View<const float, 2>& keys) const;

 private:
  void Predict(Context& context, const View<const float, 2>& keys, Range gaps, float* logits) const;
  Buffer<float> Encode(Context& context, const View<const float, 2>& keys, Range gaps) const;
  Buffer<float> Scores(Context& context, const View<const float, 2>& projected) const;
  void Attend(const VectorOps& ops, const View<const float, 2>& projected, const float* scores,
              std::int64_t gap, float* out) const;
  void Describe(const VectorOps& ops, const float* encoded, float* features) const;
  void Pool(const VectorOps& ops, const float* tokens, float* pooled) const;

  // Tokens that a token meets in some window: as many on both sides, and itself.
  std::int64_t met() const { return 4 * window_ - 1; }

  std::string path_;
  std::int64_t channels_, window_, heads_;
  LinearLayer in_, out_;  // the projections of the attention: of queries, keys and values; behind
  NormLayer norm_;
  std::vector<float> gate_;  // [C]; empty: the mean is pooled
  LinearLayer hidden_, logit_;
};

}  // namespace foveate
