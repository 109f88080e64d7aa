// The two micro-GEMMs of attention: c [rows][columns] (+)= a [rows][depth] * b [depth][columns].
// With a = queries, b = a key page this gives scores; with a = probabilities, b = a value page, the
// output. Every element is summed over depth in order by one chain of multiply-adds, so the shape
// of the register block does not show in the result.
#include <cstdint>

#include "base/half.h"
#include "kernels/attention_page.h"

#if defined(FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_
#endif

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// Bytes between the rows at work, all of them asked for, and what is asked for next.
inline constexpr std::int64_t kFetchAhead = 1024;

// Where b comes from: At(k, column) gives kLanes columns of row k as floats, From(k) begins at row
// k. kDepthBlock rows are walked at a time; a stored element takes kElement bytes (0: already in
// cache).
struct PanelSource {  // packed panels [columns / kPanel][panel_size / kPanel][kPanel]
  static constexpr std::int64_t kDepthBlock = std::int64_t{1} << 40;
  static constexpr std::int64_t kElement = 0;
  const float* data;
  std::int64_t panel_size;
  HWY_INLINE PanelSource From(std::int64_t k) const { return {data + k * kPanel, panel_size}; }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return Load(data + column / kPanel * panel_size + k * kPanel + column % kPanel);
  }
};

template <typename T>
struct RowSource {  // as they lie in a page
  static constexpr std::int64_t kDepthBlock = 16;
  static constexpr std::int64_t kElement = sizeof(T);
  const T* data;
  std::int64_t stride;
  HWY_INLINE RowSource From(std::int64_t k) const { return {data + k * stride, stride}; }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return LoadAny(data + k * stride + column);
  }

 private:
  static HWY_INLINE VF LoadAny(const float* from) { return Load(from); }
  static HWY_INLINE VF LoadAny(const Half* from) { return LoadHalf(from); }
};
using F32Source = RowSource<float>;
using HalfSource = RowSource<Half>;

struct Q8KeySource {  // rows are dimensions: 32 rows share the scales of their keys
  static constexpr std::int64_t kDepthBlock = kQ8Block;  // From() at multiples of this only
  static constexpr std::int64_t kElement = 1;
  const std::int8_t* data;
  std::int64_t stride;  // kPageKeys
  const float* scales;  // [depth / 32][64]
  HWY_INLINE Q8KeySource From(std::int64_t k) const {
    return {data + k * kPageKeys, kPageKeys, scales + k / kQ8Block * kPageKeys};
  }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return Mul(LoadInt8(data + k * kPageKeys + column),
               Load(scales + k / kQ8Block * kPageKeys + column));
  }
};

struct Q8ValueSource {  // rows are keys: 32 columns share a scale
  static constexpr std::int64_t kDepthBlock = kQ8Block;
  static constexpr std::int64_t kElement = 1;
  const std::int8_t* data;
  std::int64_t stride;
  const float* scales;  // [depth][stride / 32]
  HWY_INLINE Q8ValueSource From(std::int64_t k) const {
    return {data + k * stride, stride, scales + k * (stride / kQ8Block)};
  }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return Mul(LoadInt8(data + k * stride + column),
               Set(scales[k * (stride / kQ8Block) + column / kQ8Block]));
  }
};

// The left factor and the result of a micro-GEMM.
struct GemmRows {
  const float* a;
  std::int64_t a_stride;
  float* c;
  std::int64_t c_stride;
  std::int64_t depth;
  bool accumulate;  // false: c is overwritten
};

// One register block: kRows rows by kPanels panels from `column` on. Meanwhile it asks for as much
// memory as it reads, from `fetch` on.
template <int kRows, int kPanels, class Source>
HWY_INLINE void RegisterBlock(const GemmRows& rows, const Source& b, std::int64_t column,
                              std::uintptr_t fetch) {
  constexpr int kVectors = kPanels * static_cast<int>(kPanel) / kLanes;
  constexpr int kBytes = kPanels * static_cast<int>(kPanel * Source::kElement);
  VF sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = rows.accumulate ? Load(rows.c + r * rows.c_stride + column + v * kLanes) : Zero();
    }
  }
  for (std::int64_t k = 0; k < rows.depth; ++k) {
    const float* left = rows.a + k;
    HWY_UNROLL(4)
    for (int i = 0; i < kBytes; i += 64) {
      __builtin_prefetch(reinterpret_cast<const void*>(fetch + i));
    }
    fetch += kBytes;
    // The shorter side waits in registers, the longer passes by, or the sums would spill.
    if constexpr (kRows <= kVectors) {
      VF held[kRows];
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) held[r] = Set(left[r * rows.a_stride]);
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) {
        const VF right = b.At(k, column + v * kLanes);
        HWY_UNROLL(8)
        for (int r = 0; r < kRows; ++r) sum[r][v] = MulAdd(held[r], right, sum[r][v]);
      }
    } else {
      VF held[kVectors];
      HWY_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) held[v] = b.At(k, column + v * kLanes);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        const VF broadcast = Set(left[r * rows.a_stride]);
        HWY_UNROLL(16)
        for (int v = 0; v < kVectors; ++v) sum[r][v] = MulAdd(broadcast, held[v], sum[r][v]);
      }
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      Store(sum[r][v], rows.c + r * rows.c_stride + column + v * kLanes);
    }
  }
}

// Panels that fit beside kRows rows in three quarters of the registers.
constexpr int BlockPanels(int rows) {
  const int sums = kVectorRegisters / 4 * 3;
  const int per_panel = rows * static_cast<int>(kPanel) / kLanes;
  return sums >= 4 * per_panel ? 4 : sums >= 2 * per_panel ? 2 : 1;
}

// Columns [begin, end), multiples of kPanel.
//
// Blocks of several rows walk a page in strides that the hardware's prefetching does not follow. So
// they go over all columns of a few rows of b before the next few, and ask for the memory behind in
// the order it lies.
template <int kRows, class Source>
HWY_NOINLINE void Gemm(const GemmRows& rows, const Source& b, std::int64_t begin,
                       std::int64_t end) {
  constexpr int kPanels = BlockPanels(kRows);
  for (std::int64_t k = 0; k < rows.depth; k += Source::kDepthBlock) {
    GemmRows part = rows;
    part.a += k;
    part.depth = std::min(Source::kDepthBlock, rows.depth - k);
    part.accumulate |= k > 0;
    const Source right = b.From(k);
    std::uintptr_t fetch = 0;
    if constexpr (Source::kElement > 0) {
      fetch = reinterpret_cast<std::uintptr_t>(right.data) + kFetchAhead +
              Source::kDepthBlock * right.stride * Source::kElement;
    }
    std::int64_t column = begin;
    for (; column + kPanels * kPanel <= end; column += kPanels * kPanel) {
      RegisterBlock<kRows, kPanels>(part, right, column, fetch);
      fetch += part.depth * kPanels * kPanel * Source::kElement;
    }
    if constexpr (kPanels > 1) {
      for (; column < end; column += kPanel) {
        RegisterBlock<kRows, 1>(part, right, column, fetch);
        fetch += part.depth * kPanel * Source::kElement;
      }
    }
  }
}

// The same for a number of rows known at run time, 1 to 4.
template <class Source>
HWY_INLINE void GemmFewRows(std::int64_t count, const GemmRows& rows, const Source& b,
                            std::int64_t begin, std::int64_t end) {
  switch (count) {
    case 1: return Gemm<1>(rows, b, begin, end);
    case 2: return Gemm<2>(rows, b, begin, end);
    case 3: return Gemm<3>(rows, b, begin, end);
    default: return Gemm<4>(rows, b, begin, end);
  }
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
