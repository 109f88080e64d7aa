// Rounded activations times quantised weights with AVX-512 VNNI: vpdpbusd multiplies 64 unsigned
// weights with 64 signed activations and adds four products each to 16 sums.
//
// 16 rows x 32 columns sit in 8 registers; each token adds 8 vpdpbusd whose activations are
// broadcast from memory by the instruction itself, in two chains, then a conversion and two FMAs:
// 512 multiplications for 14 instructions. Signed weights are shifted to unsigned; like every
// offset of codes that goes into the minimum and is paid by the block sum. Highway 1.0.3 knows no
// such target: hence own functions with a target attribute, reached only where Isa::kAvx512Vnni is
// supported.
#include "kernels/linear_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "hwy/base.h"

// gcc 12 takes the deliberately undefined operands inside its own intrinsics for mistakes.
#if HWY_COMPILER_GCC_ACTUAL
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
namespace foveate {
namespace {

HWY_INLINE __m512i Load64(const std::byte* source) { return _mm512_loadu_si512(source); }

HWY_INLINE __m512 LoadHalves(const std::byte* source) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
}

// Scales of 16 rows; `super` are the factors of their superblock.
HWY_INLINE __m512 LoadScales(ScaleKind kind, const std::byte* source, const std::byte* super) {
  switch (kind) {
    case ScaleKind::kHalf: return LoadHalves(source);
    case ScaleKind::kFloat: return _mm512_loadu_ps(source);
    case ScaleKind::kSuper: break;
  }
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), LoadHalves(super));
}

template <int kGroups>
struct Scales {
  __m512 scale[kGroups];
  __m512 minimum[kGroups];
};

// `offset` is what the kernel's codes exceed their value by, where there are no minima.
template <int kGroups>
HWY_INLINE Scales<kGroups> LoadBlockScales(const BlockCursor& at, int offset) {
  const PackedLayout& layout = at.layout;
  const std::int64_t group_bytes = layout.ScaleBytes() / kGroups;
  Scales<kGroups> out;
  for (int group = 0; group < kGroups; ++group) {
    const std::byte* source = at.scales() + group * group_bytes;
    out.scale[group] = LoadScales(layout.scales, source, at.super);
    if (layout.minima) {
      out.minimum[group] =
          LoadScales(layout.scales, source + layout.ScaleBytes(), at.super + 2 * kTileRows);
    } else {
      const __m512 factor = _mm512_set1_ps(static_cast<float>(-offset));
      out.minimum[group] = _mm512_mul_ps(out.scale[group], factor);
    }
  }
  return out;
}

// 16 rows x 32 columns as unsigned bytes: register j holds columns 4j..4j+3.
struct Codes {
  __m512i w[8];
};

HWY_INLINE __m512i LowNibbles(__m512i bytes) {
  return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}

HWY_INLINE __m512i HighNibbles(__m512i bytes) { return LowNibbles(_mm512_srli_epi16(bytes, 4)); }

// What makes the codes of a layout unsigned; tables of small numbers need little, and lose little.
template <CodeKind kCodes>
int Offset(const PackedLayout& layout) {
  if constexpr (kCodes == CodeKind::kS8) return 128;
  if constexpr (kCodes == CodeKind::kTable4) {
    return -*std::min_element(layout.table, layout.table + 16);
  }
  return layout.offset;
}

template <CodeKind kCodes>
HWY_INLINE Codes Unpack(const PackedLayout& layout, int offset, const std::byte* block) {
  Codes codes;
  const __m512i shift = _mm512_set1_epi8(static_cast<char>(offset));
  if constexpr (kCodes == CodeKind::kS8) {
    for (int j = 0; j < 8; ++j) codes.w[j] = _mm512_add_epi8(Load64(block + 64 * j), shift);
    return codes;
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i both = Load64(block + 64 * j);
    codes.w[j] = LowNibbles(both);
    codes.w[j + 4] = HighNibbles(both);
  }
  if constexpr (kCodes == CodeKind::kTable4) {
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.table));
    const __m512i entries = _mm512_add_epi8(_mm512_broadcast_i32x4(table), shift);
    for (__m512i& w : codes.w) w = _mm512_shuffle_epi8(entries, w);
  }
  constexpr int kPlanes = kCodes == CodeKind::kU5 ? 1 : kCodes == CodeKind::kU6 ? 2 : 0;
  for (int plane = 0; plane < kPlanes; ++plane) {
    const __m512i bits = Load64(block + 256 + 64 * plane);
    const __m512i bit = _mm512_set1_epi8(static_cast<char>(16 << plane));
    for (int j = 0; j < 8; ++j) {
      const int left = 4 + plane - j;
      const __m512i moved =
          left >= 0 ? _mm512_slli_epi16(bits, left) : _mm512_srli_epi16(bits, -left);
      codes.w[j] = _mm512_or_si512(codes.w[j], _mm512_and_si512(moved, bit));
    }
  }
  return codes;
}

HWY_INLINE __m512i AddProducts(__m512i sum, __m512i w, const std::int8_t* x) {
  std::int32_t four;
  std::memcpy(&four, x, 4);
  return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(four));
}

// Sums of 4 kSteps products per row, in two chains.
template <int kSteps>
HWY_INLINE __m512i Dot(const __m512i* w, const std::int8_t* x) {
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  for (int j = 0; j < kSteps; j += 2) {
    even = AddProducts(even, w[j], x + 4 * j);
    odd = AddProducts(odd, w[j + 1], x + 4 * j + 4);
  }
  return _mm512_add_epi32(even, odd);
}

HWY_INLINE __m512 AddScaled(__m512 total, __m512i dot, __m512 scale, float x_scale) {
  const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(x_scale));
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), factor, total);
}

template <int kGroups>
HWY_INLINE __m512 AddBlock(__m512 total, const Codes& codes, const Scales<kGroups>& scales,
                           const ActivationBlock& x) {
  if constexpr (kGroups == 1) {
    total = _mm512_fmadd_ps(scales.minimum[0], _mm512_set1_ps(x.sum), total);
    return AddScaled(total, Dot<8>(codes.w, x.values), scales.scale[0], x.scale);
  } else {
    for (int group = 0; group < 2; ++group) {
      total = _mm512_fmadd_ps(scales.minimum[group], _mm512_set1_ps(x.half_sums[group]), total);
    }
    for (int group = 0; group < 2; ++group) {
      const __m512i dot = Dot<4>(codes.w + 4 * group, x.values + 16 * group);
      total = AddScaled(total, dot, scales.scale[group], x.scale);
    }
    return total;
  }
}

template <CodeKind kCodes, int kGroups>
void MultiplyTile(const QuantJob& job) {
  const int offset = Offset<kCodes>(*job.layout);
  constexpr int kLines = kCodes == CodeKind::kS8 ? 9 : 7;
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    _mm512_store_ps(job.sums + t * kTileRows, _mm512_setzero_ps());
  }
  const ActivationBlock* HWY_RESTRICT x = job.x;
  float* HWY_RESTRICT sums = job.sums;
  for (BlockCursor at(job); at.index < at.blocks; at.Next(), x += job.tokens) {
    for (int line = 0; line < kLines; ++line) {
      _mm_prefetch(reinterpret_cast<const char*>(at.block) + kPrefetchBytes + 64 * line,
                   _MM_HINT_T0);
    }
    const auto scales = LoadBlockScales<kGroups>(at, offset);
    const Codes codes = Unpack<kCodes>(at.layout, offset, at.block);
    for (std::int64_t t = 0; t < job.tokens; ++t) {
      const __m512 total = _mm512_load_ps(sums + t * kTileRows);
      _mm512_store_ps(sums + t * kTileRows, AddBlock<kGroups>(total, codes, scales, x[t]));
    }
  }
}

}  // namespace

void MultiplyVnni(const QuantJob& job) {
  const bool grouped = job.layout->groups == 2;
  switch (job.layout->codes) {
    case CodeKind::kU4:
      return grouped ? MultiplyTile<CodeKind::kU4, 2>(job) : MultiplyTile<CodeKind::kU4, 1>(job);
    case CodeKind::kU5: return MultiplyTile<CodeKind::kU5, 1>(job);
    case CodeKind::kU6: return MultiplyTile<CodeKind::kU6, 2>(job);
    case CodeKind::kTable4: return MultiplyTile<CodeKind::kTable4, 1>(job);
    case CodeKind::kS8: return MultiplyTile<CodeKind::kS8, 1>(job);
    default: return;  // plain floats never come here
  }
}

}  // namespace foveate
HWY_POP_ATTRIBUTES

#endif  // x86
