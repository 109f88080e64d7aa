// Neighborhood attention with its weights stored, forward and backward: NeighborhoodWindows'
// products with a softmax between them.
#pragma once

#include <optional>

#include "attention/attention_backward.h"
#include "mechanisms/neighborhood_windows.h"

namespace foveate {

struct WindowOptions {
  std::optional<float> scale;   // of the scores; none: 1 / sqrt(D)
  View<const float, 2> bias{};  // [H, bias_entries()], added to them; no data: none
};

// Throws Error: kInvalidArgument for shapes that do not fit the grid or each other, and for a bias
// beside a causal axis, which has no meaning; kLimit for weights of more than 2^30 numbers. The
// functions below throw the same, before anything is written.
void CheckWindowAttention(const NeighborhoodWindows& windows, const AttentionInputs& inputs,
                          const WindowOptions& options);

// Writes the scores A (`scores`, unless it has no data) and the weights P, both [B, H, N, K], out
// [B, H, N, Dv] and, unless it has no data, lse [B, H, N].
void WindowAttention(Context& context, const NeighborhoodWindows& windows,
                     const AttentionInputs& inputs, const WindowOptions& options,
                     View<float, 4> weights, const AttentionOutputs& outputs,
                     View<float, 4> scores = {});

// The gradients of the above, and those by the bias [H, bias_entries()] unless dbias has no data.
// `weights` are those of the forward pass. With other keys merged in (MergeAttention), inputs.out
// and inputs.lse are those of all keys, and weights are e^(A - lse).
void WindowAttentionBackward(Context& context, const NeighborhoodWindows& windows,
                             const AttentionBackwardInputs& inputs, const WindowOptions& options,
                             const View<const float, 4>& weights,
                             const AttentionGradients& gradients, View<float, 2> dbias = {});

}  // namespace foveate
