// The two products of attention by a matrix unit: bfloat16 tensors, packed as they are in pairs.
// Queries are not scaled, or they would be rounded; the factor goes into the exponential.
// Probabilities are sums of two bfloat16, 16 bits: an error of 2^-16 at most, beside the 2^-9 of a
// bfloat16 result.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "kernels/attention_kernels.h"
#include "kernels/matrix_unit.h"

#if defined(FOVEATE_KERNELS_ATTENTION_UNIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_UNIT_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_UNIT_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_UNIT_INL_H_
#endif

#include "kernels/attention_pack-inl.h"
#include "kernels/attention_softmax-inl.h"

// The target whose machines may have a matrix unit.
#define FOVEATE_MATRIX_UNIT (HWY_TARGET == HWY_AVX3)

#if FOVEATE_MATRIX_UNIT
HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

using DU = hn::RebindToUnsigned<DF>;
using VU = hn::Vec<DU>;
using DU16 = hn::Repartition<std::uint16_t, DF>;

static_assert(kLanes == kPanel && kUnitDepth == 2 * kLanes);

// A bfloat16 is the upper half of a float.
HWY_INLINE VU BitsOf(VF v) { return hn::BitCast(DU(), v); }
HWY_INLINE VF Upper(VF v) {
  return hn::BitCast(DF(), hn::And(BitsOf(v), hn::Set(DU(), 0xffff0000)));
}

// The upper halves of 16 floats and of the next 16, one after the other.
HWY_INLINE void StoreUppers(VF first, VF next, std::uint16_t* to) {
  hn::StoreU(hn::ConcatOdd(DU16(), hn::BitCast(DU16(), next), hn::BitCast(DU16(), first)), DU16(),
             to);
}
// The same alternately.
HWY_INLINE void StorePairs(VF even, VF odd, std::uint16_t* to) {
  hn::StoreU(hn::BitCast(DU16(), hn::Or(hn::ShiftRight<16>(BitsOf(even)), BitsOf(Upper(odd)))),
             DU16(), to);
}

// --- packing ---

// to = `count` elements that lie `stride` apart, then zeros up to `room`.
HWY_INLINE void CopyElements(const BFloat16* from, std::int64_t stride, std::int64_t count,
                             std::int64_t room, BFloat16* to) {
  if (stride == 1) {
    std::copy_n(from, count, to);
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = from[i * stride];
  }
  std::fill(to + count, to + room, BFloat16{});
}

void PackUnitRow(const PageLayout& layout, std::int64_t row, const float* query, double scale,
                 float* packed) {
  BFloat16* to = reinterpret_cast<BFloat16*>(packed) + row * layout.unit_depth();
  for (std::int64_t d = 0; d < layout.key_dim; ++d) {
    to[d] = ToBFloat16(static_cast<float>(query[d] * scale));
  }
  std::fill(to + layout.key_dim, to + layout.unit_depth(), BFloat16{});
}

// Two of a row side by side: as wide as a float, and transposed like one.
struct BFloat16Pair {
  BFloat16 even, odd;
};
HWY_INLINE VF LoadElements(const BFloat16Pair* from) {
  return hn::BitCast(DF(), hn::LoadU(DU16(), &from->even.bits));
}
HWY_INLINE float Widened(BFloat16Pair pair) { return std::bit_cast<float>(pair); }

HWY_INLINE void PackUnitKeys(const TensorRef<2>& keys, std::int64_t depth, float* page) {
  const auto [count, dim] = keys.shape;
  const bool in_place = keys.strides[1] == 1 && keys.strides[0] % 2 == 0 && dim == depth;
  const std::int64_t stride = in_place ? keys.strides[0] / 2 : depth / 2;
  BFloat16Pair copied[4 * kMaxHeadDim / 2];
  for (std::int64_t first = 0; first < kPageKeys; first += 4) {
    const auto* rows = reinterpret_cast<const BFloat16Pair*>(keys.At(first));
    if (!in_place) {
      for (std::int64_t i = 0; i < std::min<std::int64_t>(count - first, 4); ++i) {
        CopyElements(reinterpret_cast<const BFloat16*>(keys.At(first + i)), keys.strides[1], dim,
                     depth, &copied[i * stride].even);
      }
      rows = copied;
    }
    PackFourKeys(rows, stride, 1, count - first, depth / 2,
                 page + first / kPanel * kPanel * depth / 2 + first % kPanel);
  }
}

// 16 values of a row, zeros behind the last.
HWY_INLINE VF LoadValues(const BFloat16* from, std::int64_t stride, std::int64_t count) {
  if (stride == 1 && count >= kPanel) return LoadBFloat16(from);
  BFloat16 row[kPanel];
  CopyElements(from, stride, std::min(count, kPanel), kPanel, row);
  return LoadBFloat16(row);
}

HWY_INLINE void PackUnitValues(const TensorRef<2>& values, std::int64_t panel, float* page) {
  const auto [count, dim] = values.shape;
  const std::int64_t stride = values.strides[1];
  for (std::int64_t key = 0; key < kPageKeys; key += 2) {
    auto* to = reinterpret_cast<std::uint16_t*>(page) + key * kPanel;
    for (std::int64_t i = 0; i < dim; i += kPanel, to += panel) {
      VF rows[2];
      for (std::int64_t odd = 0; odd < 2; ++odd) {
        rows[odd] = Zero();
        if (key + odd >= count) continue;
        const auto* from = reinterpret_cast<const BFloat16*>(values.At(key + odd, i));
        FetchAhead(from);
        rows[odd] = LoadValues(from, stride, dim - i);
      }
      StorePairs(rows[0], rows[1], to);
    }
  }
}

void PackUnitPage(const PageLayout& layout, const TensorRef<2>& keys, const TensorRef<2>& values,
                  float* key_page, float* value_page) {
  PackUnitKeys(keys, layout.unit_depth(), key_page);
  PackUnitValues(values, layout.value_panel, value_page);
}

// --- reading ---

// Packed panels; At(k, column) as PanelSource has it.
struct PairSource {
  static constexpr std::int64_t kDepthBlock = std::int64_t{1} << 40;
  static constexpr std::int64_t kBits = 0;
  const std::uint16_t* data;
  std::int64_t panel_size;
  HWY_INLINE PairSource From(std::int64_t) const { return *this; }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    const std::uint16_t* from = data + column / kPanel * panel_size + k / 2 * 2 * kPanel;
    const VU pairs = hn::BitCast(DU(), hn::LoadU(DU16(), from));
    return Upper(hn::BitCast(DF(), k % 2 == 0 ? hn::ShiftLeft<16>(pairs) : pairs));
  }
};

HWY_INLINE PairSource KeyPairs(const PageLayout& layout, const std::byte* block) {
  return {reinterpret_cast<const std::uint16_t*>(block), layout.unit_depth() * kPanel};
}
HWY_INLINE PairSource ValuePairs(const PageLayout& layout, const std::byte* block) {
  return {reinterpret_cast<const std::uint16_t*>(block), layout.value_panel};
}

HWY_INLINE VF ZeroUnlessFinite(VF v) { return hn::IfThenElseZero(hn::IsFinite(v), v); }

// A page of values with zeros in place of what is not finite. `memory` has room for it.
HWY_INLINE PairSource FiniteValues(const PairSource& values, std::int64_t width, float* memory) {
  const PairSource finite{reinterpret_cast<std::uint16_t*>(memory), kPageKeys * kPanel};
  auto* to = reinterpret_cast<std::uint16_t*>(memory);
  for (std::int64_t column = 0; column < width; column += kPanel) {
    for (std::int64_t key = 0; key < kPageKeys; key += 2, to += 2 * kPanel) {
      StorePairs(ZeroUnlessFinite(values.At(key, column)),
                 ZeroUnlessFinite(values.At(key + 1, column)), to);
    }
  }
  return finite;
}

// --- products ---

// scores [rows][kScoreStride] = a block of packed queries times keys.
HWY_INLINE void UnitScores(std::int64_t rows, const std::uint16_t* queries, const PairSource& keys,
                           float* scores, Columns columns) {
  const std::int64_t depth = keys.panel_size / kPanel;
  MultiplyByUnit(rows,
                 {.left = queries,
                  .left_stride = depth,
                  .left_pieces = 1,
                  .right = keys.data,
                  .right_panel = keys.panel_size,
                  .c = scores,
                  .c_stride = kScoreStride,
                  .depth = depth,
                  .accumulate = false},
                 columns.begin, columns.end);
}

// Columns in whole depths of the unit.
HWY_INLINE Columns WholeDepths(Columns columns) {
  return {columns.begin / kUnitDepth * kUnitDepth, RoundUp(columns.end, kUnitDepth)};
}

// 2^(scale s - m) of 16 scores as the sum of two bfloat16, each in the upper half of its float.
struct UnitProbabilities {
  VF upper, lower;
};
HWY_INLINE UnitProbabilities UnitExponential(VF s, VF scale, VF minus_m, VF& sum) {
  const VF p = Exp2NonPositive(MulAdd(s, scale, minus_m));
  sum = Add(sum, p);
  const VF upper = Upper(p);
  const VU rest = BitsOf(Sub(p, upper));
  return {upper, hn::BitCast(DF(), hn::Add(rest, hn::Set(DU(), 0x8000)))};  // to nearest
}

// In place: scores become 2^(scale s - m), as two bfloat16 each; returns their sum. Columns besides
// the spans', up to whole depths, become zeros. A row whose scores are all -infinity, as m is then,
// becomes zeros.
HWY_INLINE float UnitExponentials(float* scores, const Spans& spans, float scale, float m) {
  const VF minus_m = Set(m == kMinusInfinity ? 0.0f : -m);
  VF even = Zero(), odd = Zero();
  for (int s = 0; s < spans.count; ++s) {
    const Columns& span = spans.at[s];
    const Columns whole = WholeDepths(span);
    if (whole.begin < span.begin) Store(Set(kMinusInfinity), scores + whole.begin);
    if (whole.end > span.end) Store(Set(kMinusInfinity), scores + span.end);
    for (std::int64_t i = whole.begin; i < whole.end; i += kUnitDepth) {
      const auto first = UnitExponential(Load(scores + i), Set(scale), minus_m, even);
      const auto next = UnitExponential(Load(scores + i + kLanes), Set(scale), minus_m, odd);
      auto* to = reinterpret_cast<std::uint16_t*>(scores + i);
      StoreUppers(first.upper, next.upper, to);
      StoreUppers(first.lower, next.lower, to + kUnitDepth);
    }
  }
  return ReduceSum(Add(even, odd));
}

// out [rows][width] (+)= such probabilities of columns `keys` times the values of a tile from row
// `offset` on.
HWY_INLINE void UnitOutput(std::int64_t rows, const float* probabilities, Columns keys,
                           const PairSource& values, std::int64_t offset, float* out,
                           std::int64_t width, bool accumulate) {
  const Columns whole = WholeDepths(keys);
  const std::int64_t first = offset - (keys.begin - whole.begin);
  MultiplyByUnit(rows,
                 {.left = reinterpret_cast<const std::uint16_t*>(probabilities + whole.begin),
                  .left_stride = 2 * kScoreStride,
                  .left_pieces = 2,
                  .right = values.data + first * kPanel,
                  .right_panel = values.panel_size,
                  .c = out,
                  .c_stride = width,
                  .depth = whole.end - whole.begin,
                  .accumulate = accumulate},
                 0, width);
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // FOVEATE_MATRIX_UNIT

#endif  // per-target include guard
