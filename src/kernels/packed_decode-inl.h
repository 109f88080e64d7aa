// Scales and values of a packed block as floats, for every target. Include after hwy/highway.h.
#if defined(FOVEATE_KERNELS_PACKED_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_PACKED_DECODE_INL_H_
#undef FOVEATE_KERNELS_PACKED_DECODE_INL_H_
#else
#define FOVEATE_KERNELS_PACKED_DECODE_INL_H_
#endif

#include <bit>
#include <cstddef>
#include <cstring>

#include "base/half.h"
#include "kernels/packed_layout.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// value = scale * code + minimum for the rows of a tile; a second group only where there is one.
struct BlockScales {
  alignas(64) float scale[2][kTileRows];
  alignas(64) float minimum[2][kTileRows];
};

#if FOVEATE_PLAIN_LOOPS

HWY_INLINE float LoadScale(const std::byte* source, Half) {
  Half half;
  std::memcpy(&half, source, 2);
  return ToFloat(half);
}

// out[row] of one group; `super` holds the superblock's factors.
HWY_INLINE void LoadScales(ScaleKind kind, const std::byte* source, const std::byte* super,
                           float* out) {
  for (int row = 0; row < kTileRows; ++row) {
    switch (kind) {
      case ScaleKind::kHalf: out[row] = LoadScale(source + 2 * row, Half{}); break;
      case ScaleKind::kFloat: std::memcpy(out + row, source + 4 * row, 4); break;
      case ScaleKind::kSuper:
        out[row] = LoadScale(super + 2 * row, Half{}) *
                   static_cast<float>(static_cast<std::int8_t>(source[row]));
        break;
    }
  }
}

#else

template <typename D>
HWY_INLINE hn::Vec<D> LoadHalves(D df, const std::byte* source) {
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(df, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(source)));
}

HWY_INLINE void LoadScales(ScaleKind kind, const std::byte* source, const std::byte* super,
                           float* out) {
  const hn::CappedTag<float, kTileRows> df;
  const hn::Rebind<std::int8_t, decltype(df)> d8;
  const hn::Rebind<std::int32_t, decltype(df)> d32;
  for (std::size_t row = 0; row < kTileRows; row += hn::Lanes(df)) {
    switch (kind) {
      case ScaleKind::kHalf: hn::Store(LoadHalves(df, source + 2 * row), df, out + row); break;
      case ScaleKind::kFloat:
        hn::Store(hn::LoadU(df, reinterpret_cast<const float*>(source) + row), df, out + row);
        break;
      case ScaleKind::kSuper: {
        const auto bytes = hn::LoadU(d8, reinterpret_cast<const std::int8_t*>(source) + row);
        const auto factor = hn::ConvertTo(df, hn::PromoteTo(d32, bytes));
        hn::Store(hn::Mul(factor, LoadHalves(df, super + 2 * row)), df, out + row);
        break;
      }
    }
  }
}

#endif  // FOVEATE_PLAIN_LOOPS

// `scales` is where the block's scales begin, `super` the header of its superblock.
HWY_INLINE void LoadBlockScales(const PackedLayout& layout, const std::byte* scales,
                                const std::byte* super, BlockScales& out) {
  const std::int64_t group_bytes = layout.ScaleBytes() / layout.groups;
  for (int group = 0; group < layout.groups; ++group) {
    LoadScales(layout.scales, scales + group * group_bytes, super, out.scale[group]);
    if (layout.minima) {
      LoadScales(layout.scales, scales + layout.ScaleBytes() + group * group_bytes,
                 super + 2 * kTileRows, out.minimum[group]);
    } else {
      for (int row = 0; row < kTileRows; ++row) {
        out.minimum[group][row] = static_cast<float>(-layout.offset) * out.scale[group][row];
      }
    }
  }
}

template <CodeKind kCodes>
inline constexpr int kPlanesOf = kCodes == CodeKind::kU5   ? 1
                                 : kCodes == CodeKind::kU6 ? 2
                                                           : 0;

// Values [32 columns][16 rows] of one block, aligned: scale * code + minimum. Words of four codes
// stand for four columns of one row, j-th word columns 4j..4j+3.
#if FOVEATE_PLAIN_LOOPS

template <CodeKind kCodes>
HWY_INLINE void DecodeBlock(const PackedLayout& layout, const std::byte* block,
                            const BlockScales& scales, float values[][kTileRows]) {
  std::uint32_t words[8][kTileRows];
  if constexpr (kCodes == CodeKind::kS8) {
    std::memcpy(words, block, sizeof(words));
  } else {
    std::memcpy(words, block, 256);
    for (int j = 0; j < 4; ++j) {
      for (int row = 0; row < kTileRows; ++row) {
        words[j + 4][row] = (words[j][row] >> 4) & 0x0f0f0f0fu;
        words[j][row] &= 0x0f0f0f0fu;
      }
    }
  }
  for (int plane = 0; plane < kPlanesOf<kCodes>; ++plane) {
    std::uint32_t bits[kTileRows];
    std::memcpy(bits, block + 256 + 64 * plane, sizeof(bits));
    for (int j = 0; j < 8; ++j) {
      for (int row = 0; row < kTileRows; ++row) {
        words[j][row] |= ((bits[row] >> j) & 0x01010101u) << (4 + plane);
      }
    }
  }
  for (int k = 0; k < kBlockColumns; ++k) {
    const int group = k * layout.groups / kBlockColumns;
    for (int row = 0; row < kTileRows; ++row) {
      int code = (words[k / 4][row] >> (8 * (k % 4))) & 0xffu;
      if constexpr (kCodes == CodeKind::kTable4) code = layout.table[code];
      if constexpr (kCodes == CodeKind::kS8) code = static_cast<std::int8_t>(code);
      values[k][row] =
          static_cast<float>(code) * scales.scale[group][row] + scales.minimum[group][row];
    }
  }
}

#else

using Words = hn::CappedTag<std::uint32_t, kTileRows>;

HWY_INLINE hn::Vec<Words> LoadWords(const std::byte* source) {
  return hn::LoadU(Words(), reinterpret_cast<const std::uint32_t*>(source));
}

// Four columns of the rows of one vector, from `values` on.
template <bool kSigned>
HWY_INLINE void StoreValues(hn::Vec<Words> words, hn::Vec<hn::RebindToFloat<Words> > scale,
                            hn::Vec<hn::RebindToFloat<Words> > minimum, float* values) {
  const Words du;
  const hn::RebindToSigned<Words> di;
  const hn::RebindToFloat<Words> df;
  for (int e = 0; e < 4; ++e) {
    const auto code = kSigned ? hn::ShiftRight<24>(hn::BitCast(di, hn::ShiftLeft<24>(words)))
                              : hn::BitCast(di, hn::And(words, hn::Set(du, 0xffu)));
    hn::Store(hn::MulAdd(hn::ConvertTo(df, code), scale, minimum), df, values + e * kTileRows);
    words = hn::ShiftRight<8>(words);
  }
}

HWY_INLINE hn::Vec<Words> LookUpWords(hn::Vec<Words> indices, const std::int8_t* table) {
  const hn::Repartition<std::uint8_t, Words> d8;
  const auto entries = hn::LoadDup128(d8, reinterpret_cast<const std::uint8_t*>(table));
  return hn::BitCast(Words(), hn::TableLookupBytes(entries, hn::BitCast(d8, indices)));
}

template <CodeKind kCodes>
HWY_INLINE void DecodeBlock(const PackedLayout& layout, const std::byte* block,
                            const BlockScales& scales, float values[][kTileRows]) {
  const Words du;
  const hn::RebindToFloat<Words> df;
  const int last_group = layout.groups - 1;  // of columns 16..31
  for (std::size_t row = 0; row < kTileRows; row += hn::Lanes(du)) {
    const auto scale0 = hn::Load(df, scales.scale[0] + row);
    const auto minimum0 = hn::Load(df, scales.minimum[0] + row);
    const auto scale1 = hn::Load(df, scales.scale[last_group] + row);
    const auto minimum1 = hn::Load(df, scales.minimum[last_group] + row);
    for (int j = 0; j < 4; ++j) {
      const auto both = LoadWords(block + 64 * j + 4 * row);
      float* low_values = &values[4 * j][row];
      float* high_values = &values[4 * j + 16][row];
      if constexpr (kCodes == CodeKind::kS8) {
        StoreValues<true>(both, scale0, minimum0, low_values);
        StoreValues<true>(LoadWords(block + 64 * (j + 4) + 4 * row), scale1, minimum1, high_values);
        continue;
      }
      const auto nibbles = hn::Set(du, 0x0f0f0f0fu);
      auto low = hn::And(both, nibbles), high = hn::And(hn::ShiftRight<4>(both), nibbles);
      if constexpr (kCodes == CodeKind::kTable4) {
        StoreValues<true>(LookUpWords(low, layout.table), scale0, minimum0, low_values);
        StoreValues<true>(LookUpWords(high, layout.table), scale1, minimum1, high_values);
        continue;
      }
      for (int plane = 0; plane < kPlanesOf<kCodes>; ++plane) {
        const auto bit = hn::Set(du, 0x01010101u);
        const auto bits = hn::ShiftRightSame(LoadWords(block + 256 + 64 * plane + 4 * row), j);
        low = hn::Or(low, hn::ShiftLeftSame(hn::And(bits, bit), 4 + plane));
        const auto high_bits = hn::And(hn::ShiftRight<4>(bits), bit);
        high = hn::Or(high, hn::ShiftLeftSame(high_bits, 4 + plane));
      }
      StoreValues<false>(low, scale0, minimum0, low_values);
      StoreValues<false>(high, scale1, minimum1, high_values);
    }
  }
}

#endif  // FOVEATE_PLAIN_LOOPS

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
