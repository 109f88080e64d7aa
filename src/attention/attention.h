// Softmax attention over a KV cache: causal, optionally with a sliding window.
//
//   cache.Append(context, keys, values);
//   Attend(context, cache, queries, {.scale = 0.125f}, scratch, out);
#pragma once

#include <cstdint>

#include "attention/kv_cache.h"
#include "base/buffer.h"
#include "base/context.h"
#include "base/tensor.h"

namespace foveate {

struct AttentionOptions {
  float scale = 1.0f;       // applied to every score first
  float soft_cap = 0;       // then s = cap * tanh(s / cap); 0: no cap
  std::int64_t window = 0;  // key j is visible to query i iff 0 <= i - j < window; 0: all j <= i
};

// Memory that Attend works in, kept from call to call. It grows to the largest shape seen (for a
// cache: its whole capacity, touched as it fills), so that a running session allocates nothing.
class AttentionScratch {
 public:
  AttentionScratch() = default;

  // At least `count` floats, aligned to a cache line, content undefined.
  float* Reserve(std::int64_t count);

 private:
  Buffer<float> memory_;
};

// out [T, H, Dv] = attention of queries [T, H, D], which are at positions cache.length() - T and
// on; their own keys are in the cache. Query head h reads KV head h / (H / Hkv).
//
// A result does not depend, bit for bit, on the number of threads, on T (alone or within a longer
// chunk) or on how the prompt was cut into chunks.
//
// Throws Error(kInvalidArgument) for shapes that do not fit, a soft cap that is negative or not
// finite, or a window whose keys the cache no longer holds.
void Attend(Context& context, const KvCache& cache, View<const float, 3> queries,
            const AttentionOptions& options, AttentionScratch& scratch, View<float, 3> out);

}  // namespace foveate
