// Gradients of softmax attention: the backward pass of Attention().
//
//   Attention(context, {query, key, value}, options, scratch, {out, lse});
//   AttentionBackward(context, {{query, key, value}, out, lse, dout}, options, scratch,
//                     {dquery, dkey, dvalue});
//
// From the gradient of some loss by `out` come those by query, key and value, for every pattern and
// score operation of the forward pass, over the same schedules: tiles that no row sees cost
// nothing. Probabilities are recomputed from the log-sum-exp that the forward pass left
// (FlashAttention-2, arXiv 2307.08691), tile by tile, in one pass of five products of matrices;
// memory is O(N D + M D), never N x M.
//
// A result does not depend, bit for bit, on the number of threads.
#pragma once

#include "attention/attention.h"

namespace foveate {

// What the forward pass read and wrote.
struct AttentionBackwardInputs {
  AttentionInputs forward;   // query, key, value
  TensorRef<4> out;          // [B, H, N, Dv]
  View<const float, 3> lse;  // [B, H, N], natural log, the sinks included
  TensorRef<4> dout;         // [B, H, N, Dv], the gradient by out
};

struct AttentionGradients {
  MutableTensorRef<4> dquery;  // [B, H, N, D]
  MutableTensorRef<4> dkey;    // [B, Hkv, M, D], of all query heads that read the head
  MutableTensorRef<4> dvalue;  // [B, Hkv, M, Dv]
  View<float, 1> dsinks{};     // [H], of all batches; no data: not wanted
};

// f32, f16 or bf16 with any strides, accumulated in f32; D and Dv from 1 to 512. `options` are
// those of the forward pass. Of the bias there is no gradient.
//
// Rows that see nothing get zeros and give nothing, whatever is in them. NaN and infinity of a key
// or value reach the rows that attend to it, of a row the keys that it attends to, and no others.
//
// Results may be merged: with out and lse over several sets of keys (MergeAttention), each set
// gets its gradients from a call of its own, and dquery is the sum of them.
//
// Throws Error that names the tensor or option, before anything is written, as Attention does;
// also where gradients of sinks are wanted and there are none.
void AttentionBackward(Context& context, const AttentionBackwardInputs& inputs,
                       const AttentionOptions& options, AttentionScratch& scratch,
                       const AttentionGradients& gradients);

}  // namespace foveate
