// Softmax attention with any pattern: one operator over plain tensors, and one over a KV cache.
//
//   Attention(context, {query, key, value}, {.pattern = Window(1023, 0)}, scratch, {out});
//
//   cache.Append(context, keys, values);
//   Attend(context, cache, queries, {.pattern = Window(-1, 0)}, scratch, out);
//
// For each row: scores = scale * query . key, soft cap, ALiBi, bias, mask, in that order; out = the
// mean of the values under softmax(scores), lse = log of the sum of e^scores. Rows and keys are
// aligned at the bottom right: row r of N is position M - N + r of M. A row that sees no key gives
// zeros and lse = -infinity. Memory is O(N D + M D), never N x M.
//
// A result does not depend, bit for bit, on the number of threads, nor on whether a row is computed
// alone or among others.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "attention/kv_cache.h"
#include "attention/pattern.h"
#include "attention/schedule.h"
#include "base/buffer.h"
#include "base/context.h"
#include "base/tensor.h"
#include "base/tensor_ref.h"

namespace foveate {

struct AttentionOptions {
  PatternPtr pattern;                     // of all heads; null: every row sees every key
  std::vector<PatternPtr> head_patterns;  // [H], one for each query head, instead of `pattern`
  std::optional<float> scale;             // applied to every score first; none: 1 / sqrt(D)
  float soft_cap = 0;                     // then s = cap * tanh(s / cap); 0: no cap
  std::vector<float> alibi_slopes;        // [H]: then s -= slope * |position of the row - key|
  View<const float, 4> bias{};  // then s += bias, broadcast to [B, H, N, M]; no data: none
  std::vector<float> sinks;     // [H]: logits that join the softmax and have no value; also -inf
};

// Memory that attention works in, and the schedules it built, kept from call to call. It grows with
// the largest call seen.
class AttentionScratch {
 public:
  AttentionScratch() = default;

  // At least `count` floats, aligned to a cache line, content undefined: for the work of threads,
  // and for packed keys and values.
  float* Reserve(std::int64_t count) { return Grown(memory_, count); }
  float* ReservePacked(std::int64_t count) { return Grown(packed_, count); }

  // The schedule of these arguments, built unless it is one of the last few asked for.
  std::shared_ptr<const Schedule> ScheduleFor(const PatternPtr& pattern,
                                              const AttentionShape& shape, std::int64_t tile_rows);

  // Likewise what the pattern says of an order; null if it has none. Throws what its Check throws.
  std::shared_ptr<const TokenOrder> OrderFor(const PatternPtr& pattern,
                                             const AttentionShape& shape);

 private:
  struct Entry {
    PatternPtr pattern;
    std::int64_t tile_rows = 0;
    std::shared_ptr<const Schedule> schedule;
  };
  struct OrderEntry {
    PatternPtr pattern;
    AttentionShape shape;
    std::shared_ptr<const TokenOrder> order;
  };
  static float* Grown(Buffer<float>& buffer, std::int64_t count);

  Buffer<float> memory_;
  Buffer<float> packed_;
  std::vector<Entry> schedules_;  // the newest last
  std::vector<OrderEntry> orders_;
};

struct AttentionInputs {
  TensorRef<4> query;  // [B, H, N, D]
  TensorRef<4> key;    // [B, Hkv, M, D]
  TensorRef<4> value;  // [B, Hkv, M, Dv]
};

struct AttentionOutputs {
  MutableTensorRef<4> out;  // [B, H, N, Dv]
  View<float, 3> lse{};     // [B, H, N], natural log; no data: not wanted
};

// f32, f16 or bf16 with any strides, accumulated in f32; D and Dv from 1 to 512. Query head h reads
// KV head h / (H / Hkv).
// Throws Error that names the tensor or option, before anything is written: kInvalidArgument for
// shapes that do not fit, heads that do not divide, a soft cap that is negative or not finite, a
// bias that does not broadcast; kLimit for sizes beyond any memory.
void Attention(Context& context, const AttentionInputs& inputs, const AttentionOptions& options,
               AttentionScratch& scratch, const AttentionOutputs& outputs);

// out [T, H, Dv] = attention of queries [T, H, D], which are at positions cache.length() - T and
// on; their own keys are in the cache, whose keys at positions 0 .. length() - 1 the pattern sees.
// Throws as Attention does, and where a row sees a key that the cache has forgotten.
void Attend(Context& context, const KvCache& cache, View<const float, 3> queries,
            const AttentionOptions& options, AttentionScratch& scratch, View<float, 3> out,
            View<float, 2> lse = {});  // [T, H]; no data: not wanted

// Partial results over disjoint sets of keys: (out, lse) = the attention over both sets, for rows
// of out [R, Dv] and lse [R]. A part that saw no key (lse = -infinity) changes nothing. Throws
// Error(kInvalidArgument) for shapes that do not agree.
void MergeAttention(View<const float, 2> more, View<const float, 1> more_lse, View<float, 2> out,
                    View<float, 1> lse);

}  // namespace foveate
