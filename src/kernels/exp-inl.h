// exp, 2^x, tanh for vectors of floats; see simd-inl.h. Measured over every float of the range (a
// test holds them to it): Exp within 1.0e-7 relative, Exp2 and Tanh within 2.0e-7 relative.
#if defined(FOVEATE_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_EXP_INL_H_
#undef FOVEATE_KERNELS_EXP_INL_H_
#else
#define FOVEATE_KERNELS_EXP_INL_H_
#endif

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// x = n ln 2 + r with integer n and |r| <= ln 2 / 2.
struct ReducedExponent {
  VF magic;  // 1.5 * 2^23 + n: adding that constant rounds to the nearest integer
  VF r;
};

HWY_INLINE ReducedExponent ReduceExponent(VF x) {
  constexpr float kRoundToInteger = 0x1.8p23f;
  const VF magic = MulAdd(x, Set(1.44269504088896341f), Set(kRoundToInteger));
  const VF n = Sub(magic, Set(kRoundToInteger));
  // ln 2 in two parts, the first short enough that n times it is exact without FMA too.
  const VF r = NegMulAdd(n, Set(-2.12194440e-4f), NegMulAdd(n, Set(0.693359375f), x));
  return {magic, r};
}

// e^r - 1 for |r| <= ln 2 / 2: r + r^2 q(r), minimax, relative error of e^r 2e-9 before rounding.
HWY_INLINE VF ExpMinusOneReduced(VF r) {
  VF q = Set(0x1.6ae6dep-10f);
  q = MulAdd(q, r, Set(0x1.1267d8p-7f));
  q = MulAdd(q, r, Set(0x1.555824p-5f));
  q = MulAdd(q, r, Set(0x1.555418p-3f));
  q = MulAdd(q, r, Set(0x1.fffffcp-2f));
  return MulAdd(Mul(r, r), q, r);
}

// e^x for x <= 0 (in truth up to 88.7), e^0 = 1 exactly. Below -86.6, where e^x < 2.5e-38, zero.
HWY_INLINE VF ExpNonPositive(VF x) {
  const ReducedExponent reduced = ReduceExponent(x);
  const VF e = Add(ExpMinusOneReduced(reduced.r), Set(1.0f));
  return IfLess(x, Set(-86.6f), Zero(), ScaleByPowerOfTwo(e, reduced.magic));
}

// e^x for any x; infinite from 88.72 on.
HWY_INLINE VF Exp(VF x) { return IfLess(Set(88.72f), x, Set(__builtin_inff()), ExpNonPositive(x)); }

// 2^x for x <= 0 (in truth up to 127), 2^0 = 1 exactly. Below -125 zero; of a NaN, whatever its
// bits, a NaN.
HWY_INLINE VF Exp2NonPositive(VF x) {
#if HWY_TARGET == HWY_AVX3  // has instructions for both ends
  const VF r{_mm512_reduce_ps(x.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
#else
  constexpr float kRoundToInteger = 0x1.8p23f;
  const VF magic = Add(x, Set(kRoundToInteger));
  const VF r = Sub(x, Sub(magic, Set(kRoundToInteger)));
#endif
  // 2^r for |r| <= 1/2, minimax with the constant fixed at 1, relative error 1.1e-7.
  VF e = Set(0x1.5bba14p-10f);
  e = MulAdd(e, r, Set(0x1.3cea88p-7f));
  e = MulAdd(e, r, Set(0x1.c6b752p-5f));
  e = MulAdd(e, r, Set(0x1.ebf9bcp-3f));
  e = MulAdd(e, r, Set(0x1.62e42ap-1f));
  e = MulAdd(e, r, Set(1.0f));
#if HWY_TARGET == HWY_AVX3
  const auto above = _mm512_cmp_ps_mask(x.raw, Set(-125.0f).raw, _CMP_NLT_UQ);
  return VF{_mm512_maskz_scalef_ps(above, e.raw, Sub(x, r).raw)};
#else
  return IfLess(x, Set(-125.0f), Zero(), Mul(e, PowerOfTwo(magic)));
#endif
}

// tanh(x) = E / (E + 2) with E = e^2|x| - 1, formed without cancellation for small x.
HWY_INLINE VF Tanh(VF x) {
  const VF doubled = Mul(Abs(x), Set(2.0f));
  const VF twice = IfLess(Set(20.0f), doubled, Set(20.0f), doubled);  // tanh(10) rounds to 1
  const ReducedExponent reduced = ReduceExponent(twice);
  const VF power = PowerOfTwo(reduced.magic);
  const VF e = MulAdd(power, ExpMinusOneReduced(reduced.r), Sub(power, Set(1.0f)));
  return WithSignOf(Div(e, Add(e, Set(2.0f))), x);
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
