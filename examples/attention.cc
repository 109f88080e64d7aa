// A window with sinks over a prompt: 8 query heads that share 2 heads of keys and values.
#include <foveate/attention.h>

#include <cstdio>

int main() {
  using foveate::DenseRef;
  const std::int64_t heads = 8, kv_heads = 2, n = 4096, d = 64;
  const std::vector<float> q(heads * n * d, 0.5f), k(kv_heads * n * d, 0.25f), v = k;
  std::vector<float> out(q.size());
  foveate::AttentionOperator attention("sink_window:sink=4,left=1023");
  attention.Run(DenseRef(q.data(), {1, heads, n, d}), DenseRef(k.data(), {1, kv_heads, n, d}),
                DenseRef(v.data(), {1, kv_heads, n, d}), DenseRef(out.data(), {1, heads, n, d}));
  std::printf("%g\n", out.back());  // every value is 0.25, and so is their mean
}
