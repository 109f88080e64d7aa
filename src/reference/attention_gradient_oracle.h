// Gradients of softmax attention in float64, from their definition: plain loops over all pairs,
// nothing saved from a forward pass and nothing shared with the kernels.
#pragma once

#include <vector>

#include "reference/attention_oracle.h"

namespace foveate::reference {

struct AttentionGradientAnswer {
  std::vector<double> dq;      // [B, H, N, D]
  std::vector<double> dk;      // [B, Hkv, M, D]
  std::vector<double> dv;      // [B, Hkv, M, Dv]
  std::vector<double> dsinks;  // [H]; empty without sinks

  // How far a good float32 result may be off, of the same shapes. With u = 2^-24, for row i and key
  // j: S the largest scale * sum |q_d k_d| of the row, G = sum_d |dout_d| * max |v|, which no
  // dP and no delta exceeds, both over attended keys; c = 16 u (1 + S + |lse|), what a
  // probability may be off relatively, where half is that of the saved lse:
  //   dq: sum_j p G c |scale k|   dk: sum_i p G c |scale q|   dv: sum_i p c |dout|
  //   dsinks: sum_i p_sink G c
  // For an `out` that was saved with rounding, delta is off by R = sum_d |dout_d| times that: G c
  // grows by R.
  std::vector<double> dq_bound, dk_bound, dv_bound, dsinks_bound;
};

// dout [B, H, N, Dv]: the gradient of some number by the attention's output. `out_rounding`: half a
// unit in the last place of the type in which out is saved, relative to its numbers. Extra keys of
// the problem are not served.
AttentionGradientAnswer SolveAttentionGradient(const AttentionProblem& problem,
                                               const std::vector<double>& dout,
                                               double out_rounding = 0);

}  // namespace foveate::reference
