// Element-wise operations between the matrix products of a transformer, on one row of floats each.
// All are bound by the arithmetic of a row that sits in cache; callers share rows over threads.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace foveate {

// In place where a row is given twice: out may equal x. No alignment is assumed.
struct VectorOps {
  // out[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i]
  void (*rms_norm)(const float* x, const float* weight, float epsilon, std::int64_t n, float* out);
  // out[i] = (x[i] - mean(x)) / sqrt(variance(x) + epsilon) * weight[i] + bias[i]
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float epsilon,
                     std::int64_t n, float* out);
  // Rotates `pairs` pairs (x[2i], x[2i+1]) by the angles of cosine and sine [pairs].
  void (*rotate_adjacent)(float* x, const float* cosine, const float* sine, std::int64_t pairs);
  // The same for the pairs (x[i], x[i + pairs]).
  void (*rotate_halves)(float* x, const float* cosine, const float* sine, std::int64_t pairs);
  // gate[i] = silu(gate[i]) * up[i],  silu(z) = z / (1 + exp(-z))
  void (*silu_gate)(float* gate, const float* up, std::int64_t n);
  // gate[i] = gelu(gate[i]) * up[i],  gelu(z) = z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))
  void (*gelu_tanh_gate)(float* gate, const float* up, std::int64_t n);
  // x[i] = x[i] / 2 (1 + erf(x[i] / sqrt(2))), within 2e-7 (1 + |x[i]|)
  void (*gelu)(float* x, std::int64_t n);
  // x[i] += y[i]
  void (*add)(float* x, const float* y, std::int64_t n);
  // x[i] *= factor
  void (*scale)(float* x, float factor, std::int64_t n);
  // x[i] = cap * tanh(x[i] / cap)
  void (*soft_cap)(float* x, float cap, std::int64_t n);
  // x[i] = e^x[i] / (sum of e^x), and log of that sum. If all are -infinity: zeros, -infinity.
  float (*softmax)(float* x, std::int64_t n);
  // How many x[i] >= least there are.
  std::int64_t (*count_at_least)(const float* x, float least, std::int64_t n);
};

const VectorOps& VectorOpsFor(Isa isa);

}  // namespace foveate
