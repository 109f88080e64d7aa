// A window with sinks: over a prompt in plain tensors, then for one more token over a KV cache.
#include <vector>

#include "attention/attention.h"
#include "mechanisms/spec.h"

using namespace foveate;

int main() {
  const std::int64_t heads = 8, kv_heads = 2, n = 4096, d = 64;
  const std::vector<float> q(heads * n * d, 0.5f), k(kv_heads * n * d, 0.25f), v = k;
  std::vector<float> out(q.size());
  const AttentionSpec spec = ParseAttentionSpec("sink_window:sink=4,left=1023");
  const AttentionOptions options{.pattern = spec.At(/*layer=*/0, /*head=*/0).pattern};
  Context context;
  AttentionScratch scratch;
  const auto ref = [&](auto* x, std::int64_t h) { return RefOf(MakeView(x, 1, h, n, d)); };
  Attention(context, {ref(q.data(), heads), ref(k.data(), kv_heads), ref(v.data(), kv_heads)},
            options, scratch, {ref(out.data(), heads)});

  KvCache cache({.kv_heads = kv_heads, .key_dim = d, .value_dim = d, .capacity = n});
  cache.Append(context, MakeView(k.data(), n, kv_heads, d), MakeView(v.data(), n, kv_heads, d));
  const auto last = MakeView(q.data(), 1, heads, d);  // its own key is in the cache
  Attend(context, cache, last, options, scratch, MakeView(out.data(), 1, heads, d));
}
