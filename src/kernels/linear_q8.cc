// Rounded activations times quantised weights: y[token][row] += w[row][k] x[token][k] in integers
// within a block of 32 columns, in f32 across blocks.
//
// AVX2 (and AVX-512 without VNNI), several tokens: 8 rows x 32 columns of unsigned codes are
// unpacked into 8 registers and serve all tokens of the group; a token adds 8 broadcasts of 4
// activations, 8 vpmaddubsw and 7 additions in 16 bits, then one widening, conversion and two FMAs
// (scale, minimum). 256 multiplications cost 20 vector operations and 11 loads: 8 cycles on Zen 3,
// 95 GMAC/s and core where f32 FMAs reach 48 (measured; 5-bit codes 88, 6-bit 70, signed bytes 58).
// Sums live in memory: at 64 tokens that is cheaper than unpacking again for every few tokens that
// fit in registers. What measuring taught: the minimum's FMA must come first (it waits for
// nothing); chains of additions must be kept as written (see Opaque).
//
// One token: bound by memory, 16 rows x 32 columns (320 bytes of 4-bit weights) in some 90
// instructions, 15 (6 bits) to 35 GB/s (signed bytes) per core from cache.
#include "kernels/isa_dispatch.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_q8.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>

#include "kernels/linear_kernels.h"
#include "kernels/packed_decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// Weights lie 8 rows x 32 columns in 8 registers: register j holds columns 4j..4j+3.
struct Codes {
  __m256i w[8];
};

HWY_INLINE __m256i Load32(const std::byte* source) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
}

HWY_INLINE __m256i Broadcast4(const std::int8_t* values) {
  std::int32_t word;
  std::memcpy(&word, values, 4);
  return _mm256_set1_epi32(word);
}

// Moves bit j of every byte of plane `plane` to where the code has it.
HWY_INLINE __m256i PlaneBit(__m256i bits, int plane, int j) {
  const int left = 4 + plane - j;
  const __m256i moved = left >= 0 ? _mm256_slli_epi16(bits, left) : _mm256_srli_epi16(bits, -left);
  return _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(16 << plane)));
}

HWY_INLINE __m256i LowNibbles(__m256i bytes) {
  return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

HWY_INLINE __m256i HighNibbles(__m256i bytes) { return LowNibbles(_mm256_srli_epi16(bytes, 4)); }

template <int kPlanes>
HWY_INLINE void Unpack(const std::byte* block, Codes& codes) {
  for (int j = 0; j < 4; ++j) {
    const __m256i both = Load32(block + 64 * j);
    codes.w[j] = LowNibbles(both);
    codes.w[j + 4] = HighNibbles(both);
  }
  for (int plane = 0; plane < kPlanes; ++plane) {
    const __m256i bits = Load32(block + 256 + 64 * plane);
    for (int j = 0; j < 8; ++j) {
      codes.w[j] = _mm256_or_si256(codes.w[j], PlaneBit(bits, plane, j));
    }
  }
}

// Hides how a sum came about. Compilers would rebalance a chain of additions into a tree, whose
// many live temporaries push weights out of the 16 registers (a sixth slower).
HWY_INLINE __m256i Opaque(__m256i value) {
  __asm__("" : "+x"(value));
  return value;
}

HWY_INLINE __m256i Products(__m256i w, const std::int8_t* x) {
  return _mm256_maddubs_epi16(w, Broadcast4(x));
}

// Sums of kSteps byte products per row, in 16 bits: two chains, even and odd steps.
template <int kSteps>
HWY_INLINE __m256i ShortDot(const __m256i* w, const std::int8_t* x) {
  __m256i even = Products(w[0], x);
  __m256i odd = Products(w[1], x + 4);
  for (int j = 2; j < kSteps; j += 2) {
    even = Opaque(_mm256_add_epi16(even, Products(w[j], x + 4 * j)));
    odd = Opaque(_mm256_add_epi16(odd, Products(w[j + 1], x + 4 * j + 4)));
  }
  return _mm256_add_epi16(even, odd);
}

// Sums of 4 kSteps products per row. Up to kRun steps are added in 16 bits.
template <int kRun, int kSteps>
HWY_INLINE __m256i Dot(const __m256i* w, const std::int8_t* x) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i total = _mm256_madd_epi16(ShortDot<kRun>(w, x), ones);
  for (int j = kRun; j < kSteps; j += kRun) {
    total = _mm256_add_epi32(total, _mm256_madd_epi16(ShortDot<kRun>(w + j, x + 4 * j), ones));
  }
  return total;
}

HWY_INLINE __m256 AddScaled(__m256 total, __m256i dot, __m256 scale, float x_scale) {
  const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(x_scale));
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor, total);
}

template <int kRun, int kGroups>
HWY_INLINE void MultiplyHalf(const Codes& codes, const BlockScales& scales, int half,
                             const ActivationBlock* HWY_RESTRICT x, std::int64_t tokens,
                             float* HWY_RESTRICT sums) {
  const __m256 scale0 = _mm256_load_ps(scales.scale[0] + 8 * half);
  const __m256 minimum0 = _mm256_load_ps(scales.minimum[0] + 8 * half);
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* target = sums + t * kTileRows + 8 * half;
    __m256 total = _mm256_load_ps(target);
    if constexpr (kGroups == 1) {
      total = _mm256_fmadd_ps(minimum0, _mm256_set1_ps(x[t].sum), total);
      total = AddScaled(total, Dot<kRun, 8>(codes.w, x[t].values), scale0, x[t].scale);
    } else {
      const __m256 scale1 = _mm256_load_ps(scales.scale[1] + 8 * half);
      const __m256 minimum1 = _mm256_load_ps(scales.minimum[1] + 8 * half);
      constexpr int kShort = kRun < 4 ? kRun : 4;
      total = _mm256_fmadd_ps(minimum0, _mm256_set1_ps(x[t].half_sums[0]), total);
      total = _mm256_fmadd_ps(minimum1, _mm256_set1_ps(x[t].half_sums[1]), total);
      total = AddScaled(total, Dot<kShort, 4>(codes.w, x[t].values), scale0, x[t].scale);
      total = AddScaled(total, Dot<kShort, 4>(codes.w + 4, x[t].values + 16), scale1, x[t].scale);
    }
    _mm256_store_ps(target, total);
  }
}

// Signed weights: |w| * (x with the sign of w), which fits 16 bits for one pair of products only.
HWY_INLINE __m256i SignedDot(const __m256i* magnitudes, const std::byte* w, const std::int8_t* x) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i total = _mm256_setzero_si256();
  for (int j = 0; j < 8; ++j) {
    const __m256i signed_x = _mm256_sign_epi8(Broadcast4(x + 4 * j), Load32(w + 64 * j));
    const __m256i products = _mm256_maddubs_epi16(magnitudes[j], signed_x);
    total = Opaque(_mm256_add_epi32(total, _mm256_madd_epi16(products, ones)));
  }
  return total;
}

// `w` is the first byte of the half's columns 0..3, laid out like the 8-bit codes of a block.
HWY_INLINE void MultiplySignedHalf(const std::byte* w, const BlockScales& scales, int half,
                                   const ActivationBlock* HWY_RESTRICT x, std::int64_t tokens,
                                   float* HWY_RESTRICT sums) {
  __m256i magnitudes[8];
  for (int j = 0; j < 8; ++j) magnitudes[j] = _mm256_abs_epi8(Load32(w + 64 * j));
  const __m256 scale = _mm256_load_ps(scales.scale[0] + 8 * half);
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* target = sums + t * kTileRows + 8 * half;
    const __m256i dot = SignedDot(magnitudes, w, x[t].values);
    _mm256_store_ps(target, AddScaled(_mm256_load_ps(target), dot, scale, x[t].scale));
  }
}

// Looks up 16 rows of 4-bit indices: 256 bytes become the 512 of an 8-bit block.
HWY_INLINE void LookUp(const std::byte* block, const std::int8_t* table, std::byte* values) {
  const __m256i entries =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  for (int at = 0; at < 256; at += 32) {
    const __m256i both = Load32(block + at);
    auto* target = reinterpret_cast<__m256i*>(values + at);
    _mm256_store_si256(target, _mm256_shuffle_epi8(entries, LowNibbles(both)));
    _mm256_store_si256(target + 8, _mm256_shuffle_epi8(entries, HighNibbles(both)));
  }
}

template <CodeKind kCodes, int kGroups>
HWY_INLINE void MultiplyBlock(const PackedLayout& layout, const std::byte* block,
                              const BlockScales& scales, const ActivationBlock* x,
                              std::int64_t tokens, float* sums) {
  if constexpr (kCodes == CodeKind::kTable4) {
    alignas(64) std::byte values[512];
    LookUp(block, layout.table, values);
    MultiplyBlock<CodeKind::kS8, 1>(layout, values, scales, x, tokens, sums);
    return;
  }
  for (int half = 0; half < 2; ++half) {
    if constexpr (kCodes == CodeKind::kS8) {
      MultiplySignedHalf(block + 32 * half, scales, half, x, tokens, sums);
    } else {
      constexpr int kPlanes = kPlanesOf<kCodes>;
      // Pairs of products that fit 16 bits: each is at most 2 * 127 * (15, 31 or 63).
      constexpr int kRun = kPlanes == 0 ? 8 / kGroups : kPlanes == 1 ? 4 : 2;
      Codes codes;
      Unpack<kPlanes>(block + 32 * half, codes);
      MultiplyHalf<kRun, kGroups>(codes, scales, half, x, tokens, sums);
    }
  }
}

// A single token: nothing is reused, so nothing is kept. Both halves of a block go side by side and
// share each broadcast; sums stay in registers. The additions are those of MultiplyBlock, in order.
struct OneTokenSums {
  __m256 half[2];
};

// Sums for both halves of the rows, of columns 0..15 and 16..31.
struct OneTokenDots {
  __m256i run[2][2];  // 16 bits
  __m256i dot[2][2];  // 32 bits
};

// Columns 4 kStep.. and 16 + 4 kStep.. of a block.
template <int kPlanes, int kStep>
HWY_INLINE void AddStep(const std::byte* block, const std::int8_t* x, OneTokenDots& dots) {
  constexpr int kRun = kPlanes == 2 ? 2 : 4;
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i x_low = Broadcast4(x + 4 * kStep);
  const __m256i x_high = Broadcast4(x + 4 * kStep + 16);
  for (int half = 0; half < 2; ++half) {
    const __m256i both = Load32(block + 64 * kStep + 32 * half);
    __m256i low = LowNibbles(both), high = HighNibbles(both);
    for (int plane = 0; plane < kPlanes; ++plane) {
      const __m256i bits = Load32(block + 256 + 64 * plane + 32 * half);
      low = _mm256_or_si256(low, PlaneBit(bits, plane, kStep));
      high = _mm256_or_si256(high, PlaneBit(bits, plane, kStep + 4));
    }
    const __m256i products[2] = {_mm256_maddubs_epi16(low, x_low),
                                 _mm256_maddubs_epi16(high, x_high)};
    for (int part = 0; part < 2; ++part) {
      __m256i& run = dots.run[half][part];
      run = kStep % kRun == 0 ? products[part] : _mm256_add_epi16(run, products[part]);
      if constexpr (kStep % kRun == kRun - 1) {
        const __m256i sum = _mm256_madd_epi16(run, ones);
        __m256i& dot = dots.dot[half][part];
        dot = kStep < kRun ? sum : _mm256_add_epi32(dot, sum);
      }
    }
  }
}

template <int kPlanes, int kGroups>
HWY_INLINE void AddBlockUnsigned(const std::byte* block, const BlockScales& scales,
                                 const ActivationBlock& x, OneTokenSums& sums) {
  OneTokenDots dots;
  AddStep<kPlanes, 0>(block, x.values, dots);
  AddStep<kPlanes, 1>(block, x.values, dots);
  AddStep<kPlanes, 2>(block, x.values, dots);
  AddStep<kPlanes, 3>(block, x.values, dots);
  for (int half = 0; half < 2; ++half) {
    const auto& dot = dots.dot[half];
    __m256 total = sums.half[half];
    for (int group = 0; group < kGroups; ++group) {
      const float x_sum = kGroups == 1 ? x.sum : x.half_sums[group];
      const __m256 minimum = _mm256_load_ps(scales.minimum[group] + 8 * half);
      total = _mm256_fmadd_ps(minimum, _mm256_set1_ps(x_sum), total);
    }
    for (int group = 0; group < kGroups; ++group) {
      const __m256i all = kGroups == 1 ? _mm256_add_epi32(dot[0], dot[1]) : dot[group];
      total = AddScaled(total, all, _mm256_load_ps(scales.scale[group] + 8 * half), x.scale);
    }
    sums.half[half] = total;
  }
}

HWY_INLINE void AddBlockSigned(const std::byte* block, const BlockScales& scales,
                               const ActivationBlock& x, OneTokenSums& sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i dot[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (int j = 0; j < 8; ++j) {
    const __m256i values = Broadcast4(x.values + 4 * j);
    for (int half = 0; half < 2; ++half) {
      const __m256i w = Load32(block + 64 * j + 32 * half);
      const __m256i products =
          _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(values, w));
      dot[half] = _mm256_add_epi32(dot[half], _mm256_madd_epi16(products, ones));
    }
  }
  for (int half = 0; half < 2; ++half) {
    const __m256 scale = _mm256_load_ps(scales.scale[0] + 8 * half);
    sums.half[half] = AddScaled(sums.half[half], dot[half], scale, x.scale);
  }
}

template <CodeKind kCodes, int kGroups>
HWY_INLINE void AddBlock(const PackedLayout& layout, const std::byte* block,
                         const BlockScales& scales, const ActivationBlock& x, OneTokenSums& sums) {
  if constexpr (kCodes == CodeKind::kTable4) {
    alignas(64) std::byte values[512];
    LookUp(block, layout.table, values);
    AddBlockSigned(values, scales, x, sums);
  } else if constexpr (kCodes == CodeKind::kS8) {
    AddBlockSigned(block, scales, x, sums);
  } else {
    AddBlockUnsigned<kPlanesOf<kCodes>, kGroups>(block, scales, x, sums);
  }
}

#else  // plain loops, on NEON too: codes as floats, whose sums of products are exact

inline constexpr BlockScales kUnitScales = [] {
  BlockScales scales{};
  for (auto& group : scales.scale) std::fill_n(group, kTileRows, 1.0f);
  return scales;
}();

template <CodeKind kCodes, int kGroups>
void MultiplyBlock(const PackedLayout& layout, const std::byte* block, const BlockScales& scales,
                   const ActivationBlock* x, std::int64_t tokens, float* sums) {
  alignas(64) float codes[kBlockColumns][kTileRows];
  DecodeBlock<kCodes>(layout, block, kUnitScales, codes);
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* total = sums + t * kTileRows;
    for (int group = 0; group < kGroups; ++group) {
      const float sum = kGroups == 1 ? x[t].sum : x[t].half_sums[group];
      for (int row = 0; row < kTileRows; ++row) total[row] += scales.minimum[group][row] * sum;
    }
    for (int group = 0; group < kGroups; ++group) {
      constexpr int kWidth = kBlockColumns / kGroups;
      float dot[kTileRows] = {};
      for (int k = group * kWidth; k < (group + 1) * kWidth; ++k) {
        const auto value = static_cast<float>(x[t].values[k]);
        for (int row = 0; row < kTileRows; ++row) dot[row] += codes[k][row] * value;
      }
      for (int row = 0; row < kTileRows; ++row) {
        total[row] += dot[row] * (scales.scale[group][row] * x[t].scale);
      }
    }
  }
}

#endif

template <CodeKind kCodes>
HWY_INLINE void LoadScalesAndPrefetch(const BlockCursor& at, BlockScales& scales) {
  constexpr int kLines = kCodes == CodeKind::kS8 ? 9 : 5 + kPlanesOf<kCodes>;
  for (int line = 0; line < kLines; ++line) hwy::Prefetch(at.block + kPrefetchBytes + 64 * line);
  LoadBlockScales(at.layout, at.scales(), at.super, scales);
}

template <CodeKind kCodes, int kGroups>
void MultiplyTile(const QuantJob& job) {
  BlockCursor at(job);
  BlockScales scales;
  const ActivationBlock* x = job.x;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  if (job.tokens == 1) {
    OneTokenSums sums = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (; at.index < at.blocks; at.Next()) {
      LoadScalesAndPrefetch<kCodes>(at, scales);
      AddBlock<kCodes, kGroups>(at.layout, at.block, scales, x[at.index], sums);
    }
    _mm256_store_ps(job.sums, sums.half[0]);
    _mm256_store_ps(job.sums + 8, sums.half[1]);
    return;
  }
#endif
  for (std::int64_t i = 0; i < job.tokens * kTileRows; ++i) job.sums[i] = 0.0f;
  for (; at.index < at.blocks; at.Next(), x += job.tokens) {
    LoadScalesAndPrefetch<kCodes>(at, scales);
    MultiplyBlock<kCodes, kGroups>(at.layout, at.block, scales, x, job.tokens, job.sums);
  }
}

template <CodeKind kCodes>
void MultiplyGroups(const QuantJob& job) {
  return job.layout->groups == 1 ? MultiplyTile<kCodes, 1>(job) : MultiplyTile<kCodes, 2>(job);
}

void Multiply(const QuantJob& job) {
  switch (job.layout->codes) {
    case CodeKind::kU4: return MultiplyGroups<CodeKind::kU4>(job);
    case CodeKind::kU5: return MultiplyTile<CodeKind::kU5, 1>(job);
    case CodeKind::kU6: return MultiplyTile<CodeKind::kU6, 2>(job);
    case CodeKind::kTable4: return MultiplyTile<CodeKind::kTable4, 1>(job);
    case CodeKind::kS8: return MultiplyTile<CodeKind::kS8, 1>(job);
    default: return;  // plain floats never come here
  }
}

constexpr QuantKernel kMultiply = Multiply;

}  // namespace
}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {
QuantKernel QuantKernelFor(Isa isa) {
#if HWY_ARCH_X86
  if (HasVnni(isa)) return MultiplyVnni;
#elif HWY_ARCH_ARM_A64
  if (isa == Isa::kNeonDot) return MultiplyNeonDot;
#endif
  return FOVEATE_TABLE_FOR(isa, kMultiply);
}

}  // namespace foveate
#endif
