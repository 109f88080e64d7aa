// Rows of keys and values into pages, and pages of any type out to the micro-GEMMs.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/attention_page.h"

#if defined(FOVEATE_KERNELS_ATTENTION_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_STORE_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_STORE_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_STORE_INL_H_
#endif

#include "kernels/attention_gemm-inl.h"
#include "kernels/attention_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// Rounds 32 numbers as the Q8_0 format does; returns the scale. A block with a number that is not
// finite gets a NaN scale: it must not turn into plausible values.
HWY_INLINE Half QuantiseBlock(const float* from, std::int8_t* to) {
  VF largest = Zero();
  VF check = Zero();  // 0 * x is NaN for infinite x and NaN
  for (std::int64_t i = 0; i < kQ8Block; i += kLanes) {
    const VF v = Load(from + i);
    largest = Max(largest, Abs(v));
    check = MulAdd(v, Zero(), check);
  }
  const bool finite = ReduceSum(check) == 0.0f;
  const float scale = finite ? ReduceMax(largest) / 127.0f : std::nanf("");
  const VF inverse = Set(finite && scale > 0 ? 1.0f / scale : 0.0f);
  for (std::int64_t i = 0; i < kQ8Block; i += kLanes) {
    StoreRoundedInt8(finite ? Mul(Load(from + i), inverse) : Zero(), to + i);
  }
  return ToHalf(scale);
}

HWY_INLINE void RoundToHalf(const float* from, std::int64_t count, Half* to) {
  for (std::int64_t i = 0; i < count; i += kLanes) StoreHalf(Load(from + i), to + i);
}

// One key becomes a column of its page.
template <typename T>
HWY_INLINE void StoreColumn(const T* row, std::int64_t dim, std::byte* block, std::int64_t column) {
  T* to = reinterpret_cast<T*>(block) + column;
  for (std::int64_t d = 0; d < dim; ++d) to[d * kPageKeys] = row[d];
}

inline void StoreKey(const PageLayout& layout, std::byte* block, std::int64_t column,
                     const float* row) {
  const std::int64_t dim = layout.key_dim;
  switch (layout.key_type) {
    case KvType::kF32: return StoreColumn(row, dim, block, column);
    case KvType::kF16: {
      Half half[kMaxHeadDim];
      RoundToHalf(row, dim, half);
      return StoreColumn(half, dim, block, column);
    }
    case KvType::kQ8_0: {
      std::int8_t bytes[kMaxHeadDim];
      Half* scales = reinterpret_cast<Half*>(block + layout.key_scales());
      for (std::int64_t d = 0; d < dim; d += kQ8Block) {
        scales[d / kQ8Block * kPageKeys + column] = QuantiseBlock(row + d, bytes + d);
      }
      return StoreColumn(bytes, dim, block, column);
    }
  }
}

inline void StoreValue(const PageLayout& layout, std::byte* block, std::int64_t column,
                       const float* row) {
  const std::int64_t width = layout.value_width();
  switch (layout.value_type) {
    case KvType::kF32: {
      float* to = reinterpret_cast<float*>(block) + column * width;
      for (std::int64_t i = 0; i < width; i += kLanes) Store(Load(row + i), to + i);
      return;
    }
    case KvType::kF16:
      return RoundToHalf(row, width, reinterpret_cast<Half*>(block) + column * width);
    case KvType::kQ8_0: {
      std::int8_t* to = reinterpret_cast<std::int8_t*>(block) + column * width;
      Half* scales =
          reinterpret_cast<Half*>(block + layout.value_scales()) + column * (width / kQ8Block);
      for (std::int64_t i = 0; i < width; i += kQ8Block) {
        scales[i / kQ8Block] = QuantiseBlock(row + i, to + i);
      }
      return;
    }
  }
}

// Widens the scales of a page, [count] from `from`, so that the loops below load floats.
HWY_INLINE const float* WidenScales(const std::byte* from, std::int64_t count, float* scales) {
  const Half* half = reinterpret_cast<const Half*>(from);
  for (std::int64_t i = 0; i < count; i += kLanes) Store(LoadHalf(half + i), scales + i);
  return scales;
}

// Calls visitor(source) with the keys of a tile as a source of the type in which they lie. `scales`
// is room for D / 32 * 64 floats, `page` for a converted page: keys in place become panels.
template <class Visitor>
HWY_INLINE void VisitKeys(const PageLayout& layout, const KeyTile& tile, float* scales, float* page,
                          const Visitor& visitor) {
  const std::byte* block = tile.keys;
  if (layout.in_place) {
    PackKeys({block, layout.row_type, {tile.count, layout.key_dim}, {layout.key_stride, 1}}, page);
    return visitor(PanelSource{page, layout.key_dim * kPanel});
  }
  if (layout.packed()) {
    return visitor(PanelSource{reinterpret_cast<const float*>(block), layout.key_dim * kPanel});
  }
  switch (layout.key_type) {
    case KvType::kF32: return visitor(F32Source{reinterpret_cast<const float*>(block), kPageKeys});
    case KvType::kF16: return visitor(HalfSource{reinterpret_cast<const Half*>(block), kPageKeys});
    case KvType::kQ8_0:
      return visitor(Q8KeySource{
          reinterpret_cast<const std::int8_t*>(block), kPageKeys,
          WidenScales(block + layout.key_scales(), layout.key_dim / kQ8Block * kPageKeys, scales)});
  }
}

// The same for the values of a tile.
template <class Visitor>
HWY_INLINE void VisitValues(const PageLayout& layout, const KeyTile& tile, float* scales,
                            const Visitor& visitor) {
  const std::byte* block = tile.values;
  const std::int64_t width = layout.value_width();
  if (layout.in_place) {
    const std::int64_t stride = layout.value_stride;
    switch (layout.row_type) {
      case ElementType::kF32:
        return visitor(F32Source{reinterpret_cast<const float*>(block), stride});
      case ElementType::kF16:
        return visitor(HalfSource{reinterpret_cast<const Half*>(block), stride});
      case ElementType::kBF16:
        return visitor(BFloat16Source{reinterpret_cast<const BFloat16*>(block), stride});
    }
  }
  if (layout.packed()) {
    return visitor(PanelSource{reinterpret_cast<const float*>(block), layout.value_panel});
  }
  switch (layout.value_type) {
    case KvType::kF32: return visitor(F32Source{reinterpret_cast<const float*>(block), width});
    case KvType::kF16: return visitor(HalfSource{reinterpret_cast<const Half*>(block), width});
    case KvType::kQ8_0:
      return visitor(Q8ValueSource{
          reinterpret_cast<const std::int8_t*>(block), width,
          WidenScales(block + layout.value_scales(), width / kQ8Block * kPageKeys, scales)});
  }
}

// A visitor that converts rows [begin, end) and columns [first_column, last_column) into panels.
struct PackPanels {
  std::int64_t begin, end;
  std::int64_t first_column, last_column;
  float* panels;
  std::int64_t panel_size;

  template <class Source>
  HWY_INLINE void operator()(const Source& source) const {
    for (std::int64_t k = begin; k < end; ++k) {
      float* to = panels + first_column / kPanel * panel_size + k * kPanel;
      for (std::int64_t column = first_column; column < last_column; column += kPanel) {
        HWY_UNROLL(4)
        for (int i = 0; i < kPanel; i += kLanes) Store(source.At(k, column + i), to + i);
        to += panel_size;
      }
    }
  }
};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
