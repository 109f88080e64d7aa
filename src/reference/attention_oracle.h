// Softmax attention in float64, from its definition: plain loops over whole arrays, nothing skipped
// and nothing shared with the kernels.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace foveate::reference {

struct AttentionProblem {
  std::int64_t batches = 1, heads = 1, kv_heads = 1;  // B, H, Hkv
  std::int64_t rows = 0, keys = 0;                    // N, M
  std::int64_t key_dim = 0, value_dim = 0;            // D, Dv
  std::vector<double> q;                              // [B, H, N, D]
  std::vector<double> k;                              // [B, Hkv, M, D]
  std::vector<double> v;                              // [B, Hkv, M, Dv]

  // What makes a score, in this order. Row r stands at position M - N + r.
  double scale = 1;
  double soft_cap = 0;         // cap * tanh(s / cap); 0: none
  std::vector<double> slopes;  // [H]: s -= slope * |position - key|; empty: none
  // Added; at most -1e30 hides the key. Empty: none.
  std::function<double(std::int64_t batch, std::int64_t head, std::int64_t row, std::int64_t key)>
      bias;
  // Whether the row attends the key. Empty: always.
  std::function<bool(std::int64_t head, std::int64_t row, std::int64_t key)> mask;

  std::vector<double> sinks;    // [H]: logits without a value; empty: none
  std::int64_t extra_keys = 0;  // E: keys that every row sees, scaled and capped and no more
  std::vector<double> extra_k;  // [B, Hkv, E, D]
  std::vector<double> extra_v;  // [B, Hkv, E, Dv]
};

struct AttentionAnswer {
  std::vector<double> out;  // [B, H, N, Dv], zeros where a row attends nothing
  std::vector<double> lse;  // [B, H, N], there -infinity
  // [B, H, N]: how far a good float32 result may be off, 8 * 2^-24 * (1 + S) * max |v| with S the
  // largest scale * sum |q_d k_d|, both over attended keys.
  std::vector<double> bound;
  // [B, H, N]: the same for lse, 8 * 2^-24 * (1 + S + |lse|).
  std::vector<double> lse_bound;
};

AttentionAnswer SolveAttention(const AttentionProblem& problem);

}  // namespace foveate::reference
