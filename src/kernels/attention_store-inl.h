// Rows of keys and values into pages, and pages of any type out to the micro-GEMMs.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "format/quant.h"
#include "kernels/attention_page.h"

#if defined(FOVEATE_KERNELS_ATTENTION_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_STORE_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_STORE_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_STORE_INL_H_
#endif

#include "kernels/attention_gemm-inl.h"
#include "kernels/attention_pack-inl.h"
#include "kernels/attention_unit-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

HWY_INLINE bool IsFinite(const float* block) {
  VF check = Zero();  // 0 * x is NaN for infinite x and NaN
  for (std::int64_t i = 0; i < kCodeBlock; i += kLanes) {
    check = MulAdd(Load(block + i), Zero(), check);
  }
  return ReduceSum(check) == 0.0f;
}

// Round 32 numbers as the Q8_0 and Q4_0 formats do; return the scale. A block with a number that is
// not finite gets a NaN scale: it must not turn into plausible values.
HWY_INLINE Half ToBytes(const float* from, std::int8_t* to) {
  VF largest = Zero();
  for (std::int64_t i = 0; i < kCodeBlock; i += kLanes) {
    largest = Max(largest, Abs(Load(from + i)));
  }
  const bool finite = IsFinite(from);
  const float scale = finite ? ReduceMax(largest) / 127.0f : std::nanf("");
  const VF inverse = Set(finite && scale > 0 ? 1.0f / scale : 0.0f);
  for (std::int64_t i = 0; i < kCodeBlock; i += kLanes) {
    StoreRoundedInt8(finite ? Mul(Load(from + i), inverse) : Zero(), to + i);
  }
  return ToHalf(scale);
}

// A row of `dim` numbers becomes dim / 2 bytes, and scales that lie `stride` apart.
HWY_INLINE void ToNibbles(const float* row, std::int64_t dim, std::uint8_t* to, Half* scales,
                          std::int64_t stride) {
  constexpr int kHalfBlock = kCodeBlock / 2;
  struct {
    Half scale;
    std::uint8_t codes[kHalfBlock];  // of element i below, of i + 16 above
  } blocks[kMaxHeadDim / kCodeBlock];
  QuantizeRow(TensorType::kQ4_0, std::span(row, dim), reinterpret_cast<std::byte*>(blocks));
  std::uint8_t codes[kMaxHeadDim];
  for (std::int64_t d = 0; d < dim; d += kCodeBlock) {
    const auto& block = blocks[d / kCodeBlock];
    scales[d / kCodeBlock * stride] = IsFinite(row + d) ? block.scale : ToHalf(std::nanf(""));
    for (int i = 0; i < kHalfBlock; ++i) {
      codes[d + i] = block.codes[i] & 15;
      codes[d + i + kHalfBlock] = block.codes[i] >> 4;
    }
  }
  for (std::int64_t i = 0; i < dim / 2; ++i) {
    to[i] = static_cast<std::uint8_t>(codes[i] | codes[i + dim / 2] << 4);
  }
}

HWY_INLINE void Round(const float* from, std::int64_t count, Half* to) {
  for (std::int64_t i = 0; i < count; i += kLanes) StoreHalf(Load(from + i), to + i);
}
HWY_INLINE void Round(const float* from, std::int64_t count, BFloat16* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = ToBFloat16(from[i]);
}

// One key becomes a column of its page.
template <typename T>
HWY_INLINE void StoreColumn(const T* row, std::int64_t rows, std::byte* block,
                            std::int64_t column) {
  T* to = reinterpret_cast<T*>(block) + column;
  for (std::int64_t i = 0; i < rows; ++i) to[i * kPageKeys] = row[i];
}

template <typename T>
HWY_INLINE void StoreRounded(const float* row, std::int64_t dim, std::byte* block,
                             std::int64_t column) {
  T rounded[kMaxHeadDim];
  Round(row, dim, rounded);
  StoreColumn(rounded, dim, block, column);
}

inline void StoreKey(const PageLayout& layout, std::byte* block, std::int64_t column,
                     const float* row) {
  const std::int64_t dim = layout.key_dim;
  Half* scales = reinterpret_cast<Half*>(block + layout.key_scales()) + column;
  switch (layout.key_type) {
    case KvType::kF32: return StoreColumn(row, dim, block, column);
    case KvType::kF16: return StoreRounded<Half>(row, dim, block, column);
    case KvType::kBF16: return StoreRounded<BFloat16>(row, dim, block, column);
    case KvType::kQ8_0: {
      std::int8_t bytes[kMaxHeadDim];
      for (std::int64_t d = 0; d < dim; d += kCodeBlock) {
        scales[d / kCodeBlock * kPageKeys] = ToBytes(row + d, bytes + d);
      }
      return StoreColumn(bytes, dim, block, column);
    }
    case KvType::kQ4_0: {
      std::uint8_t nibbles[kMaxHeadDim / 2];
      ToNibbles(row, dim, nibbles, scales, kPageKeys);
      return StoreColumn(nibbles, dim / 2, block, column);
    }
  }
}

inline void StoreValue(const PageLayout& layout, std::byte* block, std::int64_t column,
                       const float* row) {
  const std::int64_t width = layout.value_width();
  std::byte* to = block + column * width * ElementBits(layout.value_type) / 8;
  Half* scales =
      reinterpret_cast<Half*>(block + layout.value_scales()) + column * (width / kCodeBlock);
  switch (layout.value_type) {
    case KvType::kF32: std::copy_n(row, width, reinterpret_cast<float*>(to)); return;
    case KvType::kF16: return Round(row, width, reinterpret_cast<Half*>(to));
    case KvType::kBF16: return Round(row, width, reinterpret_cast<BFloat16*>(to));
    case KvType::kQ8_0:
      for (std::int64_t i = 0; i < width; i += kCodeBlock) {
        scales[i / kCodeBlock] = ToBytes(row + i, reinterpret_cast<std::int8_t*>(to) + i);
      }
      return;
    case KvType::kQ4_0:
      return ToNibbles(row, width, reinterpret_cast<std::uint8_t*>(to), scales, 1);
  }
}

// The scales of a page, so that the loops load floats.
HWY_INLINE const float* WidenScales(const std::byte* from, std::int64_t count, float* scales) {
  const Half* half = reinterpret_cast<const Half*>(from);
  for (std::int64_t i = 0; i < count; i += kLanes) Store(LoadHalf(half + i), scales + i);
  return scales;
}

// The nibbles of a page as bytes: of each `run` codes all lower ones, then all upper ones. Once for
// all elements costs less than splitting them where they are used.
HWY_INLINE const std::int8_t* UnpackNibbles(const std::byte* from, std::int64_t count,
                                            std::int64_t run, float* memory) {
  constexpr int kStep = 4 * kLanes;  // bytes of a vector
  constexpr int kLeast = kCodeBlock / 2;
  const std::uint8_t* codes = reinterpret_cast<const std::uint8_t*>(from);
  std::int8_t* const bytes = reinterpret_cast<std::int8_t*>(memory);
  for (std::int64_t first = 0; first < count; first += run) {
    std::int8_t* to = bytes + 2 * first;
    for (std::int64_t i = 0; i < run;) {
      const std::uint8_t* at = codes + first + i;
      __builtin_prefetch(at + kFetchAhead);
      if (i + kStep <= run) {
        SplitNibbles<kStep>(at, to + i, to + run + i);
        i += kStep;
      } else {
        SplitNibbles<kLeast>(at, to + i, to + run + i);
        i += kLeast;
      }
    }
  }
  return bytes;
}

// Behind a block of a page comes `next`; null: what follows in memory.
HWY_INLINE Ahead AheadOf(const std::byte* block, std::int64_t bytes, const std::byte* next) {
  if (next == nullptr) return {};
  return {reinterpret_cast<std::uintptr_t>(block + bytes), reinterpret_cast<std::uintptr_t>(next)};
}

// Calls visitor(source) with the keys of a tile as a source of the type in which they lie. `scales`
// is room for D / 32 * 64 floats and as many codes, `page` for a converted page: keys in place
// become panels.
template <class Visitor>
HWY_INLINE void VisitKeys(const PageLayout& layout, const KeyTile& tile, float* scales, float* page,
                          const Visitor& visitor) {
  const std::byte* block = tile.keys;
#if FOVEATE_MATRIX_UNIT
  if (layout.pairs) return visitor(KeyPairs(layout, block));
#endif
  if (layout.in_place) {
    PackKeys({block, layout.row_type, {tile.count, layout.key_dim}, {layout.key_stride, 1}}, page);
    return visitor(PanelSource{page, layout.key_dim * kPanel});
  }
  if (layout.packed()) {
    return visitor(PanelSource{reinterpret_cast<const float*>(block), layout.key_dim * kPanel});
  }
  const Ahead ahead = AheadOf(block, layout.key_bytes(), tile.after_keys);
  const std::int64_t scale_count = layout.key_dim / kCodeBlock * kPageKeys;
  switch (layout.key_type) {
    case KvType::kF32:
      return visitor(F32Source{reinterpret_cast<const float*>(block), kPageKeys, ahead});
    case KvType::kF16:
      return visitor(HalfSource{reinterpret_cast<const Half*>(block), kPageKeys, ahead});
    case KvType::kBF16:
      return visitor(BFloat16Source{reinterpret_cast<const BFloat16*>(block), kPageKeys, ahead});
    case KvType::kQ8_0:
      return visitor(CodeKeySource<8>{reinterpret_cast<const std::int8_t*>(block), kPageKeys,
                                      WidenScales(block + layout.key_scales(), scale_count, scales),
                                      ahead});
    case KvType::kQ4_0: {
      const std::int64_t count = layout.key_scales();
      return visitor(
          CodeKeySource<0>{UnpackNibbles(block, count, count, scales + scale_count), kPageKeys,
                           WidenScales(block + layout.key_scales(), scale_count, scales)});
    }
  }
}

// The same for the values of a tile.
template <class Visitor>
HWY_INLINE void VisitValues(const PageLayout& layout, const KeyTile& tile, float* scales,
                            const Visitor& visitor) {
  const std::byte* block = tile.values;
  const std::int64_t width = layout.value_width();
#if FOVEATE_MATRIX_UNIT
  if (layout.pairs) return visitor(ValuePairs(layout, block));
#endif
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
  const Ahead ahead = AheadOf(block, layout.value_bytes(), tile.after_values);
  const std::int64_t scale_count = width / kCodeBlock * kPageKeys;
  switch (layout.value_type) {
    case KvType::kF32:
      return visitor(F32Source{reinterpret_cast<const float*>(block), width, ahead});
    case KvType::kF16:
      return visitor(HalfSource{reinterpret_cast<const Half*>(block), width, ahead});
    case KvType::kBF16:
      return visitor(BFloat16Source{reinterpret_cast<const BFloat16*>(block), width, ahead});
    case KvType::kQ8_0:
      return visitor(CodeValueSource<8>{
          reinterpret_cast<const std::int8_t*>(block), width,
          WidenScales(block + layout.value_scales(), scale_count, scales), ahead});
    case KvType::kQ4_0: {
      const std::int64_t count = layout.value_scales();
      return visitor(
          CodeValueSource<0>{UnpackNibbles(block, count, width / 2, scales + scale_count), width,
                             WidenScales(block + layout.value_scales(), scale_count, scales)});
    }
  }
}

// A visitor that converts the first `rows` rows and `columns` columns into panels.
struct PackPanels {
  std::int64_t rows, columns;
  float* panels;
  std::int64_t panel_size;

  template <class Source>
  HWY_INLINE void operator()(const Source& source) const {
    for (std::int64_t block = 0; block < rows; block += Source::kDepthBlock) {
      const Source part = source.From(block);
      const std::int64_t count = std::min(Source::kDepthBlock, rows - block);
      for (std::int64_t k = 0; k < count; ++k) {
        float* to = panels + (block + k) * kPanel;
        for (std::int64_t column = 0; column < columns; column += kPanel, to += panel_size) {
          FOVEATE_UNROLL(4)
          for (int i = 0; i < kPanel; i += kLanes) Store(part.At(k, column + i), to + i);
        }
      }
    }
  }
};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
