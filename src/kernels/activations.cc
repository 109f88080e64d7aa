// Rounding a transformer's activations to 8 bits: memory in, a third of it out, some 50
// instructions per block of 32 values; about 2 % of a prefill.
#include "kernels/isa_dispatch.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activations.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "kernels/activations.h"
#include "kernels/packed_layout.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// What a value is multiplied by to become a code. Blocks of zeros (or all but zeros) have no code
// but 0; blocks with NaN or infinity keep a scale that carries it on.
HWY_INLINE float InverseScale(float scale) { return scale < 1e-35f ? 0.0f : 1.0f / scale; }

HWY_INLINE void SetScale(float scale, const int (&sums)[2], ActivationBlock& block) {
  block.scale = scale;
  block.sum = scale * static_cast<float>(sums[0] + sums[1]);
  for (int half = 0; half < 2; ++half) {
    block.half_sums[half] = scale * static_cast<float>(sums[half]);
  }
}

#if FOVEATE_PLAIN_LOOPS

// 1.5 * 2^23: adding it leaves the nearest integer, ties to even, in the low bits.
constexpr float kRounder = 12582912.0f;

void Quantize(const float* x, ActivationBlock& block) {
  std::uint32_t largest = 0;  // bits of |x|: ordered like the numbers, NaN above all
  for (int i = 0; i < kBlockColumns; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  }
  const float scale = std::bit_cast<float>(largest) / 127.0f;
  const float inverse = InverseScale(scale);
  int sums[2] = {};
  for (int i = 0; i < kBlockColumns; ++i) {
    const float rounded = x[i] * inverse + kRounder;
    const int code = std::bit_cast<std::int32_t>(rounded) - std::bit_cast<std::int32_t>(kRounder);
    block.values[i] = static_cast<std::int8_t>(code);
    sums[i / 16] += block.values[i];
  }
  SetScale(scale, sums, block);
}

#else

// The largest |x| of a block. The bits of |x| are ordered like the numbers, NaN above all.
HWY_INLINE float Largest(const float* x) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> di;
  auto largest = hn::Zero(di);
  for (int i = 0; i < kBlockColumns; i += hn::MaxLanes(df)) {
    largest = hn::Max(largest, hn::BitCast(di, hn::Abs(hn::LoadU(df, x + i))));
  }
  return std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(di, largest)));
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

HWY_INLINE __m256i Codes(const float* x, __m256 inverse) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

// Packs 32 codes in three instructions and adds up both halves at once: half the time of the loop
// below.
HWY_INLINE void StoreCodes(const float* x, float inverse_scale, std::int8_t* values,
                           int (&sums)[2]) {
  const __m256 inverse = _mm256_set1_ps(inverse_scale);
  const __m256i low = _mm256_packs_epi32(Codes(x, inverse), Codes(x + 8, inverse));
  const __m256i high = _mm256_packs_epi32(Codes(x + 16, inverse), Codes(x + 24, inverse));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), codes);
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
  __m256i sum = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));  // 4 sums for each half
  sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
  sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xb1));
  sums[0] = _mm256_cvtsi256_si32(sum);
  sums[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(sum, 1));
}

#else

HWY_INLINE void StoreCodes(const float* x, float inverse_scale, std::int8_t* values,
                           int (&sums)[2]) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::int8_t, decltype(df)> d8;
  const auto inverse = hn::Set(df, inverse_scale);
  for (int half = 0; half < 2; ++half) {
    auto sum = hn::Zero(di);
    for (int i = 16 * half; i < 16 * (half + 1); i += hn::MaxLanes(df)) {
      const auto codes = hn::NearestInt(hn::Mul(hn::LoadU(df, x + i), inverse));
      hn::StoreU(hn::DemoteTo(d8, codes), d8, values + i);
      sum = hn::Add(sum, codes);
    }
    sums[half] = hn::GetLane(hn::SumOfLanes(di, sum));
  }
}

#endif

HWY_INLINE void Quantize(const float* x, ActivationBlock& block) {
  const float scale = Largest(x) / 127.0f;
  int sums[2];
  StoreCodes(x, InverseScale(scale), block.values, sums);
  SetScale(scale, sums, block);
}

#endif

// Blocks `stride` apart for one token of `columns` values.
void QuantizeToken(const float* x, std::int64_t columns, ActivationBlock* blocks,
                   std::int64_t stride) {
  for (std::int64_t k = 0; k < columns; k += kBlockColumns, blocks += stride) {
    Quantize(x + k, *blocks);
  }
}

using TokenQuantizer = void (*)(const float*, std::int64_t, ActivationBlock*, std::int64_t);
constexpr TokenQuantizer kTokenQuantizer = QuantizeToken;

}  // namespace
}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {
namespace {

// Tokens that one thread rounds at a time; below this many values a fork costs more than the work.
constexpr std::int64_t kTokensAtOnce = 8;
constexpr std::int64_t kValuesWorthAFork = 16384;

}  // namespace

void Activations::Reserve(std::int64_t max_tokens, std::int64_t max_columns) {
  const std::int64_t blocks = max_tokens * (max_columns / kBlockColumns);
  if (blocks > blocks_.size()) blocks_ = Buffer<ActivationBlock>(blocks);
}

void Activations::Set(Context& context, View<const float, 2> x, ActivationMode mode) {
  floats_ = x;
  mode_ = columns() % kBlockColumns == 0 ? mode : ActivationMode::kF32;
  if (mode_ == ActivationMode::kF32) return;
  Reserve(tokens(), columns());
  const auto quantize = FOVEATE_TABLE_FOR(context.isa(), kTokenQuantizer);
  const auto quantize_some = [&](std::int64_t first) {
    const std::int64_t end = std::min(first + kTokensAtOnce, tokens());
    for (std::int64_t t = first; t < end; ++t) {
      const std::int64_t g = t / kGroupTokens;
      ActivationBlock* group = blocks_.data() + g * kGroupTokens * (columns() / kBlockColumns);
      quantize(&x(t, 0), columns(), group + t % kGroupTokens, group_tokens(g));
    }
  };
  const std::int64_t parts = (tokens() + kTokensAtOnce - 1) / kTokensAtOnce;
  if (tokens() * columns() < kValuesWorthAFork) {
    for (std::int64_t part = 0; part < parts; ++part) quantize_some(part * kTokensAtOnce);
  } else {
    context.pool().ForEach(parts,
                           [&](std::int64_t part, int) { quantize_some(part * kTokensAtOnce); });
  }
}

}  // namespace foveate
#endif
