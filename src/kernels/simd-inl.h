// A float vector for every target, and the operations that Highway 1.0.3 lacks or names otherwise.
// For kernel .cc files, after hwy/highway.h; see isa_dispatch.h for the frame.
//
// VF holds kLanes floats: Highway's full vector, or on targets without vectors
// (FOVEATE_PLAIN_LOOPS) four floats in the compiler's own vector type, which any machine can run. A
// kernel that keeps to the functions here needs one source for all. Add, Sub, Mul, Div, Max, Min,
// MulAdd (a * b + c) and NegMulAdd (c - a * b) have Highway's meaning; without hardware FMA the
// product is rounded.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "hwy/highway.h"

// Before loops over registers, which must be unrolled to stay in them. A sanitizer would check
// every copy, and its build takes three times as long.
#ifndef FOVEATE_UNROLL
#if HWY_IS_ASAN || HWY_IS_TSAN
#define FOVEATE_UNROLL(times)
#else
#define FOVEATE_UNROLL(times) HWY_UNROLL(times)
#endif
#endif

#if defined(FOVEATE_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_SIMD_INL_H_
#undef FOVEATE_KERNELS_SIMD_INL_H_
#else
#define FOVEATE_KERNELS_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

#if FOVEATE_PLAIN_LOOPS

typedef float VF __attribute__((vector_size(16)));
typedef std::int32_t VI __attribute__((vector_size(16)));
inline constexpr int kLanes = 4;
inline constexpr int kVectorRegisters = 16;

HWY_INLINE VF Set(float value) { return VF{value, value, value, value}; }
HWY_INLINE VF Load(const float* from) {
  VF v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
HWY_INLINE void Store(VF v, float* to) { std::memcpy(to, &v, sizeof(v)); }
HWY_INLINE VF LoadHalf(const Half* from) {
  return VF{ToFloat(from[0]), ToFloat(from[1]), ToFloat(from[2]), ToFloat(from[3])};
}
HWY_INLINE VF LoadBFloat16(const BFloat16* from) {
  return VF{ToFloat(from[0]), ToFloat(from[1]), ToFloat(from[2]), ToFloat(from[3])};
}
HWY_INLINE void StoreHalf(VF v, Half* to) {
  for (int i = 0; i < kLanes; ++i) to[i] = ToHalf(v[i]);
}
HWY_INLINE VF LoadInt8(const std::int8_t* from) {
  return VF{static_cast<float>(from[0]), static_cast<float>(from[1]), static_cast<float>(from[2]),
            static_cast<float>(from[3])};
}
// The lower and the upper nibbles of kCount bytes, less 8.
template <int kCount>
HWY_INLINE void SplitNibbles(const std::uint8_t* from, std::int8_t* lower, std::int8_t* upper) {
  for (int i = 0; i < kCount; ++i) {
    lower[i] = static_cast<std::int8_t>((from[i] & 15) - 8);
    upper[i] = static_cast<std::int8_t>((from[i] >> 4) - 8);
  }
}

HWY_INLINE VF Add(VF a, VF b) { return a + b; }
HWY_INLINE VF Sub(VF a, VF b) { return a - b; }
HWY_INLINE VF Mul(VF a, VF b) { return a * b; }
HWY_INLINE VF Div(VF a, VF b) { return a / b; }
HWY_INLINE VF MulAdd(VF a, VF b, VF c) { return a * b + c; }
HWY_INLINE VF NegMulAdd(VF a, VF b, VF c) { return c - a * b; }
HWY_INLINE VF Pick(VI mask, VF yes, VF no) { return (VF)((mask & (VI)yes) | (~mask & (VI)no)); }
HWY_INLINE VF Max(VF a, VF b) { return Pick(a > b, a, b); }
HWY_INLINE VF Min(VF a, VF b) { return Pick(a < b, a, b); }
HWY_INLINE VF Abs(VF v) { return (VF)((VI)v & 0x7fffffff); }
// The magnitude of the first with the sign of the second.
HWY_INLINE VF WithSignOf(VF magnitude, VF sign) {
  return (VF)(((VI)magnitude & 0x7fffffff) | ((VI)sign & ~0x7fffffff));
}
HWY_INLINE VF IfLess(VF a, VF b, VF yes, VF no) { return Pick(a < b, yes, no); }
// `hidden` in the lanes whose bit is set (bit 0 for lane 0), v in the others.
HWY_INLINE VF HideLanes(VF v, std::uint64_t bits, VF hidden) {
  for (int i = 0; i < kLanes; ++i) v[i] = bits >> i & 1 ? hidden[i] : v[i];
  return v;
}

// Within each group of four lanes, four vectors as the rows of a matrix become its columns.
HWY_INLINE void TransposeFours(VF* v) {
  const VF a = v[0], b = v[1], c = v[2], d = v[3];
  for (int i = 0; i < 4; ++i) v[i] = VF{a[i], b[i], c[i], d[i]};
}

// v * 2^n, n being the integer in the low bits of `magic` = 1.5 * 2^23 + n; no check of the range.
HWY_INLINE VF ScaleByPowerOfTwo(VF v, VF magic) { return (VF)((VI)v + ((VI)magic << 23)); }
HWY_INLINE VF PowerOfTwo(VF magic) { return ScaleByPowerOfTwo(Set(1.0f), magic); }

// Nearest integers, halves away from zero, as bytes; |v| <= 127.
HWY_INLINE void StoreRoundedInt8(VF v, std::int8_t* to) {
  for (int i = 0; i < kLanes; ++i) {
    const float whole = static_cast<float>(static_cast<std::int32_t>(v[i]));
    const float rest = v[i] - whole;
    to[i] = static_cast<std::int8_t>(whole + (rest >= 0.5f) - (rest <= -0.5f));
  }
}

HWY_INLINE float ReduceSum(VF v) { return (v[0] + v[2]) + (v[1] + v[3]); }
HWY_INLINE float ReduceMax(VF v) { return std::max(std::max(v[0], v[2]), std::max(v[1], v[3])); }

#else

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
inline constexpr int kLanes = HWY_LANES(float);
inline constexpr int kVectorRegisters = HWY_TARGET == HWY_AVX2 ? 16 : 32;

using hn::Abs;
using hn::Add;
using hn::Div;
using hn::Max;
using hn::Min;
using hn::Mul;
using hn::MulAdd;
using hn::NegMulAdd;
using hn::Sub;

HWY_INLINE VF Set(float value) { return hn::Set(DF(), value); }
HWY_INLINE VF Load(const float* from) { return hn::LoadU(DF(), from); }
HWY_INLINE void Store(VF v, float* to) { hn::StoreU(v, DF(), to); }
HWY_INLINE VF LoadHalf(const Half* from) {
  const hn::Rebind<std::uint16_t, DF> bits;
  const hn::Rebind<hwy::float16_t, DF> half;
  return hn::PromoteTo(DF(), hn::BitCast(half, hn::LoadU(bits, &from->bits)));
}
HWY_INLINE VF LoadBFloat16(const BFloat16* from) {
  const hn::Rebind<std::uint16_t, DF> bits;
  const hn::Rebind<std::uint32_t, DF> words;
  return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(bits, &from->bits))));
}
HWY_INLINE void StoreHalf(VF v, Half* to) {
  const hn::Rebind<std::uint16_t, DF> bits;
  const hn::Rebind<hwy::float16_t, DF> half;
  hn::StoreU(hn::BitCast(bits, hn::DemoteTo(half, v)), bits, &to->bits);
}
HWY_INLINE VF LoadInt8(const std::int8_t* from) {
  const hn::Rebind<std::int8_t, DF> bytes;
  const hn::RebindToSigned<DF> words;
  return hn::ConvertTo(DF(), hn::PromoteTo(words, hn::LoadU(bytes, from)));
}
template <int kCount>
HWY_INLINE void SplitNibbles(const std::uint8_t* from, std::int8_t* lower, std::int8_t* upper) {
  const hn::CappedTag<std::uint8_t, kCount> codes;
  const hn::RebindToSigned<decltype(codes)> bytes;
  const auto both = hn::LoadU(codes, from);
  const auto eight = hn::Set(codes, 8);
  const auto low = hn::And(both, hn::Set(codes, 15));
  hn::StoreU(hn::BitCast(bytes, hn::Sub(low, eight)), bytes, lower);
  hn::StoreU(hn::BitCast(bytes, hn::Sub(hn::ShiftRight<4>(both), eight)), bytes, upper);
}

HWY_INLINE VF WithSignOf(VF magnitude, VF sign) { return hn::CopySign(magnitude, sign); }
HWY_INLINE VF IfLess(VF a, VF b, VF yes, VF no) { return hn::IfThenElse(hn::Lt(a, b), yes, no); }
HWY_INLINE VF HideLanes(VF v, std::uint64_t bits, VF hidden) {
  return hn::IfThenElse(hn::LoadMaskBits(DF(), reinterpret_cast<const std::uint8_t*>(&bits)),
                        hidden, v);
}

HWY_INLINE void TransposeFours(VF* v) {
  const hn::Repartition<double, DF> pairs;
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(DF(), v[0], v[1]));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(DF(), v[0], v[1]));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(DF(), v[2], v[3]));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(DF(), v[2], v[3]));
  v[0] = hn::BitCast(DF(), hn::InterleaveLower(pairs, low01, low23));
  v[1] = hn::BitCast(DF(), hn::InterleaveUpper(pairs, low01, low23));
  v[2] = hn::BitCast(DF(), hn::InterleaveLower(pairs, high01, high23));
  v[3] = hn::BitCast(DF(), hn::InterleaveUpper(pairs, high01, high23));
}

HWY_INLINE VF ScaleByPowerOfTwo(VF v, VF magic) {
  const hn::RebindToSigned<DF> words;
  return hn::BitCast(DF(),
                     hn::Add(hn::BitCast(words, v), hn::ShiftLeft<23>(hn::BitCast(words, magic))));
}
HWY_INLINE VF PowerOfTwo(VF magic) { return ScaleByPowerOfTwo(Set(1.0f), magic); }

HWY_INLINE void StoreRoundedInt8(VF v, std::int8_t* to) {
  const hn::Rebind<std::int8_t, DF> bytes;
  const hn::RebindToSigned<DF> words;
  const VF whole = hn::Trunc(v);
  const VF away =
      hn::IfThenElseZero(hn::Ge(hn::Abs(hn::Sub(v, whole)), Set(0.5f)), hn::CopySign(Set(1.0f), v));
  hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(words, hn::Add(whole, away))), bytes, to);
}

HWY_INLINE float ReduceSum(VF v) { return hn::GetLane(hn::SumOfLanes(DF(), v)); }
HWY_INLINE float ReduceMax(VF v) { return hn::GetLane(hn::MaxOfLanes(DF(), v)); }

#endif

HWY_INLINE VF Zero() { return Set(0.0f); }

// The first `count` < kLanes floats, the rest filled; reads and writes nothing behind them.
HWY_INLINE VF LoadFirst(const float* from, std::int64_t count, float fill = 0.0f) {
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? from[i] : fill;
  return Load(lanes);
}
HWY_INLINE void StoreFirst(VF v, float* to, std::int64_t count) {
  float lanes[kLanes];
  Store(v, lanes);
  for (int i = 0; i < kLanes && i < count; ++i) to[i] = lanes[i];
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
