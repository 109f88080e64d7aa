#include "mechanisms/window_attention.h"

#include <algorithm>
#include <cmath>

#include "attention/attention_call.h"
#include "base/throw.h"
#include "kernels/vector_ops.h"

namespace foveate {
namespace {

constexpr std::int64_t kMostWeights = std::int64_t{1} << 30;

template <typename T>
void CheckDense(const char* name, const View<T, 4>& weights,
                const std::array<std::int64_t, 4>& expected) {
  CheckShape(name, weights.shape, expected);
  CheckMemory(name, weights);
  if (weights.strides[3] == 1) return;
  Throw(ErrorCode::kInvalidArgument,
        "attention: {} have a stride of {} within a window, expected 1", name, weights.strides[3]);
}

std::array<std::int64_t, 4> WeightsShape(const NeighborhoodWindows& windows,
                                         const AttentionInputs& in) {
  return {in.query.shape[0], in.query.shape[1], windows.tokens(), windows.size()};
}

double ScaleOf(const WindowOptions& options, const AttentionInputs& in) {
  return foveate::ScaleOf(AttentionOptions{.scale = options.scale}, in.query.shape[3]);
}

// Calls visit(batch, head, token) for every row of weights.
template <typename Visit>
void ForEachRow(Context& context, const std::array<std::int64_t, 4>& shape, const Visit& visit) {
  const std::int64_t batches = shape[0], heads = shape[1], tokens = shape[2];
  context.pool().ForEach(batches * heads, [&](std::int64_t index, int) {
    for (std::int64_t token = 0; token < tokens; ++token) {
      visit(index / heads, index % heads, token);
    }
  });
}

// dA = P (dP - delta), delta = dout . out, in place of dP.
void ScoreGradients(Context& context, const AttentionBackwardInputs& in,
                    const View<const float, 4>& weights, View<float, 4> gradients) {
  const std::int64_t dim = in.out.shape[3], size = weights.shape[3];
  ForEachRow(context, weights.shape,
             [&](std::int64_t batch, std::int64_t head, std::int64_t token) {
               double delta = 0;
               for (std::int64_t d = 0; d < dim; ++d) {
                 delta += double{ReadElement(in.out.At(batch, head, token, d), in.out.type)} *
                          ReadElement(in.dout.At(batch, head, token, d), in.dout.type);
               }
               const float* p = &weights(batch, head, token, 0);
               float* gradient = &gradients(batch, head, token, 0);
               for (std::int64_t t = 0; t < size; ++t) {
                 // An entry without a key has no gradient to read.
                 gradient[t] = p[t] == 0 ? 0 : p[t] * (gradient[t] - static_cast<float>(delta));
               }
             });
}

}  // namespace

void CheckWindowAttention(const NeighborhoodWindows& windows, const AttentionInputs& in,
                          const WindowOptions& options) {
  CheckInputs(in);
  const auto [batches, heads, queries, dim] = in.query.shape;
  const std::int64_t keys = in.key.shape[2];
  if (queries != windows.tokens() || keys != windows.tokens()) {
    Throw(ErrorCode::kInvalidArgument,
          "neighborhood: shape {} makes {} tokens, but the call has {} queries and {} keys",
          windows.grid().ShapeText(), windows.tokens(), queries, keys);
  }
  if (options.scale && !std::isfinite(*options.scale)) {
    Throw(ErrorCode::kInvalidArgument, "attention: scale {}, expected a finite number",
          *options.scale);
  }
  if (options.bias.data != nullptr) {
    if (windows.causal()) {
      Throw(ErrorCode::kInvalidArgument,
            "neighborhood: a bias by relative position beside a causal axis, expected one or the "
            "other");
    }
    CheckShape("bias by relative position", options.bias.shape, {heads, windows.bias_entries()});
    CheckMemory("bias by relative position", options.bias);
  }
  if (windows.size() > kMostWeights / std::max<std::int64_t>(batches * heads * queries, 1)) {
    Throw(
        ErrorCode::kLimit,
        "neighborhood: {} x {} x {} x {} weights to store, expected at most {} (the fused operator "
        "stores none)",
        batches, heads, queries, windows.size(), kMostWeights);
  }
}

void WindowAttention(Context& context, const NeighborhoodWindows& windows,
                     const AttentionInputs& in, const WindowOptions& options,
                     View<float, 4> weights, const AttentionOutputs& outputs,
                     View<float, 4> scores) {
  CheckWindowAttention(windows, in, options);
  const auto shape = WeightsShape(windows, in);
  const std::int64_t batches = shape[0], heads = shape[1], tokens = shape[2], size = shape[3];
  CheckDense("weights", weights, shape);
  if (scores.data != nullptr) CheckDense("scores", scores, shape);
  CheckShape("out", outputs.out.shape, {batches, heads, tokens, in.value.shape[3]});
  CheckWritable("out", outputs.out);
  if (outputs.lse.data != nullptr) {
    CheckShape("lse", outputs.lse.shape, {batches, heads, tokens});
    CheckWritable("lse", outputs.lse);
  }
  windows.Scores(context, in.query, in.key, ScaleOf(options, in), weights);
  if (options.bias.data != nullptr) windows.AddBias(context, options.bias, weights);
  const VectorOps& ops = VectorOpsFor(context.isa());
  ForEachRow(context, shape, [&](std::int64_t batch, std::int64_t head, std::int64_t token) {
    float* row = &weights(batch, head, token, 0);
    if (scores.data != nullptr) std::copy_n(row, size, &scores(batch, head, token, 0));
    const float lse = ops.softmax(row, size);
    if (outputs.lse.data != nullptr) outputs.lse(batch, head, token) = lse;
  });
  windows.Mix(context, weights, in.value, 1, outputs.out);
}

void WindowAttentionBackward(Context& context, const NeighborhoodWindows& windows,
                             const AttentionBackwardInputs& in, const WindowOptions& options,
                             const View<const float, 4>& weights,
                             const AttentionGradients& gradients, View<float, 2> dbias) {
  CheckWindowAttention(windows, in.forward, options);
  const auto shape = WeightsShape(windows, in.forward);
  const std::int64_t batches = shape[0], heads = shape[1], tokens = shape[2], size = shape[3];
  CheckDense("weights", weights, shape);
  const std::array<std::int64_t, 4> of_out{batches, heads, tokens, in.forward.value.shape[3]};
  CheckShape("out", in.out.shape, of_out);
  CheckShape("dout", in.dout.shape, of_out);
  CheckShape("dquery", gradients.dquery.shape, in.forward.query.shape);
  CheckShape("dkey", gradients.dkey.shape, in.forward.key.shape);
  CheckShape("dvalue", gradients.dvalue.shape, in.forward.value.shape);
  CheckMemory("out", in.out);
  CheckMemory("dout", in.dout);
  CheckWritable("dquery", gradients.dquery);
  CheckWritable("dkey", gradients.dkey);
  CheckWritable("dvalue", gradients.dvalue);
  if (dbias.data != nullptr) {
    CheckShape("dbias", dbias.shape, {heads, windows.bias_entries()});
    CheckWritable("dbias", dbias);
  }
  Buffer<float> memory(batches * heads * tokens * size);
  const View<float, 4> dscores = MakeView(memory.data(), batches, heads, tokens, size);
  const double scale = ScaleOf(options, in.forward);
  windows.Scores(context, in.dout, in.forward.value, 1, dscores);
  ScoreGradients(context, in, weights, dscores);
  windows.Mix(context, dscores, in.forward.key, scale, gradients.dquery);
  windows.Spread(context, dscores, in.forward.query, scale, gradients.dkey);
  windows.Spread(context, weights, in.dout, 1, gradients.dvalue);
  if (dbias.data != nullptr) windows.SumByBias(context, dscores, dbias);
}

}  // namespace foveate
