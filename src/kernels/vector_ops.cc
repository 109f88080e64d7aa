#include "kernels/vector_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/isa_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vector_ops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr std::int64_t kLanes = HWY_MAX_BYTES / sizeof(float);

// The last n < Lanes values, zeros behind them.
HWY_INLINE V LoadTail(const float* x, std::int64_t n) {
  HWY_ALIGN float padded[kLanes] = {};
  std::memcpy(padded, x, n * sizeof(float));
  return hn::Load(D(), padded);
}

HWY_INLINE void StoreTail(V value, float* x, std::int64_t n) {
  HWY_ALIGN float padded[kLanes];
  hn::Store(value, D(), padded);
  std::memcpy(x, padded, n * sizeof(float));
}

// x[i] = op(x[i], y[i])
template <typename Op>
HWY_INLINE void Combine(float* x, const float* y, std::int64_t n, const Op& op) {
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(op(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i);
  }
  if (i < n) StoreTail(op(LoadTail(x + i, n - i), LoadTail(y + i, n - i)), x + i, n - i);
}

// z / (1 + exp(-t)); the cap on -t keeps exp finite, where the quotient is 0 to rounding anyway.
HWY_INLINE V TimesSigmoid(V z, V t) {
  const D d;
  const V negated = hn::Min(hn::Neg(t), hn::Set(d, 88.0f));
  return hn::Div(z, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, negated)));
}

struct SiluGateOp {
  HWY_INLINE V operator()(V gate, V up) const { return hn::Mul(TimesSigmoid(gate, gate), up); }
};

// z/2 (1 + tanh(u)) = z / (1 + exp(-2u))
struct GeluTanhGateOp {
  HWY_INLINE V operator()(V gate, V up) const {
    const D d;
    const V square = hn::Mul(gate, gate);
    const V cubic = hn::MulAdd(hn::Mul(square, gate), hn::Set(d, 0.044715f), gate);
    const V twice_u = hn::Mul(cubic, hn::Set(d, 2 * 0.7978845608f));
    return hn::Mul(TimesSigmoid(gate, twice_u), up);
  }
};

// x times the normal distribution's share below x. With t = 1 / (1 + p |z|) and z = x / sqrt(2),
// the share above |z| is a polynomial of t times e^(-z^2) / 2 (Abramowitz and Stegun, 7.1.26).
struct GeluOp {
  HWY_INLINE V operator()(V x, V) const {
    const D d;
    const V z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
    const V one = hn::Set(d, 1.0f);
    const V t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
    V above = hn::Set(d, 1.061405429f / 2);
    above = hn::MulAdd(above, t, hn::Set(d, -1.453152027f / 2));
    above = hn::MulAdd(above, t, hn::Set(d, 1.421413741f / 2));
    above = hn::MulAdd(above, t, hn::Set(d, -0.284496736f / 2));
    above = hn::MulAdd(above, t, hn::Set(d, 0.254829592f / 2));
    above = hn::Mul(hn::Mul(above, t), hn::Exp(d, hn::Neg(hn::Mul(z, z))));
    const V share = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), above, hn::Sub(one, above));
    return hn::Mul(x, share);
  }
};

struct AddOp {
  HWY_INLINE V operator()(V x, V y) const { return hn::Add(x, y); }
};

struct ScaleOp {
  float factor;
  HWY_INLINE V operator()(V x, V) const { return hn::Mul(x, hn::Set(D(), factor)); }
};

struct SoftCapOp {
  float cap;
  HWY_INLINE V operator()(V x, V) const {
    const D d;
    return hn::Mul(hn::Tanh(d, hn::Mul(x, hn::Set(d, 1 / cap))), hn::Set(d, cap));
  }
};

void SiluGate(float* gate, const float* up, std::int64_t n) { Combine(gate, up, n, SiluGateOp()); }
void GeluTanhGate(float* gate, const float* up, std::int64_t n) {
  Combine(gate, up, n, GeluTanhGateOp());
}
void Gelu(float* x, std::int64_t n) { Combine(x, x, n, GeluOp()); }
void Add(float* x, const float* y, std::int64_t n) { Combine(x, y, n, AddOp()); }
void Scale(float* x, float factor, std::int64_t n) { Combine(x, x, n, ScaleOp{factor}); }
void SoftCap(float* x, float cap, std::int64_t n) { Combine(x, x, n, SoftCapOp{cap}); }

float SumOfSquares(const float* x, std::int64_t n) {
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  V sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + lanes);
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  for (; i < n; i += lanes) {
    const V a = i + lanes <= n ? hn::LoadU(d, x + i) : LoadTail(x + i, n - i);
    sum0 = hn::MulAdd(a, a, sum0);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

void RmsNorm(const float* x, const float* weight, float epsilon, std::int64_t n, float* out) {
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  const float factor = 1 / std::sqrt(SumOfSquares(x, n) / static_cast<float>(n) + epsilon);
  const V scale = hn::Set(d, factor);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), scale), hn::LoadU(d, weight + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

float Sum(const float* x, std::int64_t n) {
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  V sum = hn::Zero(d);
  for (std::int64_t i = 0; i < n; i += lanes) {
    sum = hn::Add(sum, i + lanes <= n ? hn::LoadU(d, x + i) : LoadTail(x + i, n - i));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void LayerNorm(const float* x, const float* weight, const float* bias, float epsilon,
               std::int64_t n, float* out) {
  const float mean = Sum(x, n) / static_cast<float>(n);
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] - mean;
  const float factor = 1 / std::sqrt(SumOfSquares(out, n) / static_cast<float>(n) + epsilon);
  for (std::int64_t i = 0; i < n; ++i) out[i] = out[i] * factor * weight[i] + bias[i];
}

float Softmax(float* x, std::int64_t n) {
  const float max = *std::max_element(x, x + n);
  if (max == -__builtin_inff()) {
    std::fill_n(x, n, 0.0f);
    return max;
  }
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  const V shift = hn::Set(d, max);
  V sums = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V e = hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), shift));
    hn::StoreU(e, d, x + i);
    sums = hn::Add(sums, e);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) sum += x[i] = std::exp(x[i] - max);
  Scale(x, 1 / sum, n);
  return max + std::log(sum);
}

void RotateHalves(float* x, const float* cosine, const float* sine, std::int64_t pairs) {
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  float* y = x + pairs;
  std::int64_t i = 0;
  for (; i + lanes <= pairs; i += lanes) {
    const V u = hn::LoadU(d, x + i), v = hn::LoadU(d, y + i);
    const V c = hn::LoadU(d, cosine + i), s = hn::LoadU(d, sine + i);
    hn::StoreU(hn::NegMulAdd(v, s, hn::Mul(u, c)), d, x + i);
    hn::StoreU(hn::MulAdd(u, s, hn::Mul(v, c)), d, y + i);
  }
  for (; i < pairs; ++i) {
    const float u = x[i], v = y[i];
    x[i] = u * cosine[i] - v * sine[i];
    y[i] = u * sine[i] + v * cosine[i];
  }
}

// The compiler vectorises the shuffles of this short loop well enough: rotation is below 1 % of a
// forward pass.
void RotateAdjacent(float* x, const float* cosine, const float* sine, std::int64_t pairs) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float u = x[2 * i], v = x[2 * i + 1];
    x[2 * i] = u * cosine[i] - v * sine[i];
    x[2 * i + 1] = u * sine[i] + v * cosine[i];
  }
}

std::int64_t CountAtLeast(const float* x, float least, std::int64_t n) {
  const D d;
  const std::int64_t lanes = hn::Lanes(d);
  const V bound = hn::Set(d, least);
  std::int64_t count = 0, i = 0;
  for (; i + lanes <= n; i += lanes) {
    count += static_cast<std::int64_t>(hn::CountTrue(d, hn::Ge(hn::LoadU(d, x + i), bound)));
  }
  for (; i < n; ++i) count += x[i] >= least ? 1 : 0;
  return count;
}

}  // namespace

constexpr VectorOps kVectorOps = {
    .rms_norm = RmsNorm,
    .layer_norm = LayerNorm,
    .rotate_adjacent = RotateAdjacent,
    .rotate_halves = RotateHalves,
    .silu_gate = SiluGate,
    .gelu_tanh_gate = GeluTanhGate,
    .gelu = Gelu,
    .add = Add,
    .scale = Scale,
    .soft_cap = SoftCap,
    .softmax = Softmax,
    .count_at_least = CountAtLeast,
};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {

const VectorOps& VectorOpsFor(Isa isa) { return FOVEATE_TABLE_FOR(isa, kVectorOps); }

}  // namespace foveate
#endif
