// Any softmax attention mechanism, over tensors of the caller's.
//
//   foveate::AttentionOperator attention("sink_window:sink=4,left=1023");
//   attention.Run(DenseRef(q, {1, 8, n, 64}), DenseRef(k, {1, 2, m, 64}), DenseRef(v, {1, 2, m,
//   64}),
//                 DenseRef(out, {1, 8, n, 64}));
//
// What a mechanism is called and which there are: `foveate mechanisms`, docs/mechanisms.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "foveate/error.h"
#include "foveate/tensor_ref.h"

namespace foveate {

struct OperatorOptions {
  std::int64_t layer = 0;  // the one that is meant of a spec by layer
  int threads = 0;         // 0: one per physical core that this process may use
  std::string isa;         // instruction set: "avx2", "portable", ...; empty: the best there is
};

// What happens to the scores before the softmax, in this order; the mechanism's mask comes last.
struct ScoreOptions {
  std::optional<float> scale;       // none: 1 / sqrt(D)
  float soft_cap = 0;               // s = cap * tanh(s / cap); 0: none
  std::vector<float> alibi_slopes;  // [H]: s -= slope * |position of the row - key|
  TensorRef<4> bias;         // s += bias, f32, [B or 1, H or 1, N or 1, M or 1]; no data: none
  std::vector<float> sinks;  // [H]: logits that join the softmax and have no value
};

// Keeps threads, working memory and schedules between calls; for one thread at a time.
class AttentionOperator {
 public:
  // Throws Error(kInvalidArgument) for a mechanism or parameter that is not known, and names the
  // nearest ones.
  explicit AttentionOperator(const std::string& mechanism, const OperatorOptions& options = {});
  ~AttentionOperator();
  AttentionOperator(AttentionOperator&&) noexcept;
  AttentionOperator& operator=(AttentionOperator&&) noexcept;

  // out [B, H, N, Dv] = attention of query [B, H, N, D] over key [B, Hkv, M, D] and value
  // [B, Hkv, M, Dv], of f32, f16 or bf16 with any strides; D and Dv from 1 to 512. Query head h
  // reads KV head h / (H / Hkv); the last row stands at the last key. lse [B, H, N]: log of the sum
  // of e^score, f32; no data: not wanted. A row that sees no key gives zeros and -infinity.
  // Throws Error that names the tensor or option, before anything is written.
  void Run(const TensorRef<4>& query, const TensorRef<4>& key, const TensorRef<4>& value,
           const MutableTensorRef<4>& out, const MutableTensorRef<3>& lse = {},
           const ScoreOptions& scores = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Partial results over disjoint sets of keys: (out, lse) becomes the attention over both sets, all
// of f32. A part that saw no key (lse = -infinity) changes nothing. Throws Error(kInvalidArgument)
// for other types and shapes that do not agree.
void MergeAttention(const TensorRef<4>& more, const TensorRef<3>& more_lse,
                    const MutableTensorRef<4>& out, const MutableTensorRef<3>& lse);

}  // namespace foveate
