// Rounded activations times quantised weights on 64-bit Arm with dot products (every phone since
// 2018): SDOT multiplies 16 signed weights with 4 activations, taken from a lane of a register of
// 16, and adds four products each to 4 sums.
//
// 8 rows x 32 columns sit in 16 of 32 registers; a token adds its 32 activations (2 registers), 16
// SDOTs into 2 sums, 2 conversions and 4 FMAs. Codes are at most 127 in every format: all are
// signed.
#include "kernels/linear_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include "hwy/base.h"

HWY_PUSH_ATTRIBUTES("arch=armv8.2-a+dotprod")
namespace foveate {
namespace {

constexpr int kHalfRows = 8;

struct Rows {
  float32x4_t low, high;  // rows 0..3, 4..7
};

HWY_INLINE const std::uint8_t* Bytes(const std::byte* source) {
  return reinterpret_cast<const std::uint8_t*>(source);
}

HWY_INLINE Rows LoadHalves(const std::byte* source) {
  const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(Bytes(source)));
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}

// Scales of 8 rows; `super` are the factors of their superblock.
HWY_INLINE Rows LoadScales(ScaleKind kind, const std::byte* source, const std::byte* super) {
  switch (kind) {
    case ScaleKind::kHalf: return LoadHalves(source);
    case ScaleKind::kFloat:
      return {vreinterpretq_f32_u8(vld1q_u8(Bytes(source))),
              vreinterpretq_f32_u8(vld1q_u8(Bytes(source) + 16))};
    case ScaleKind::kSuper: break;
  }
  const int16x8_t factors = vmovl_s8(vreinterpret_s8_u8(vld1_u8(Bytes(source))));
  const Rows halves = LoadHalves(super);
  return {vmulq_f32(halves.low, vcvtq_f32_s32(vmovl_s16(vget_low_s16(factors)))),
          vmulq_f32(halves.high, vcvtq_f32_s32(vmovl_high_s16(factors)))};
}

template <int kGroups>
struct Scales {
  Rows scale[kGroups];
  Rows minimum[kGroups];
};

template <int kGroups>
HWY_INLINE Scales<kGroups> LoadBlockScales(const BlockCursor& at, int half) {
  const PackedLayout& layout = at.layout;
  const std::int64_t group_bytes = layout.ScaleBytes() / kGroups;
  const std::byte* super = at.super + 2 * kHalfRows * half;
  Scales<kGroups> out;
  for (int group = 0; group < kGroups; ++group) {
    const std::byte* source = at.scales() + group * group_bytes + half * group_bytes / 2;
    out.scale[group] = LoadScales(layout.scales, source, super);
    if (layout.minima) {
      out.minimum[group] =
          LoadScales(layout.scales, source + layout.ScaleBytes(), super + 2 * kTileRows);
    } else {
      const float factor = static_cast<float>(-layout.offset);
      out.minimum[group] = {vmulq_n_f32(out.scale[group].low, factor),
                            vmulq_n_f32(out.scale[group].high, factor)};
    }
  }
  return out;
}

// 8 rows x 32 columns: w[j][part] holds columns 4j..4j+3 of 4 rows.
struct Codes {
  int8x16_t w[8][2];
};

// `block` is the half's first byte.
template <CodeKind kCodes>
HWY_INLINE Codes Unpack(const PackedLayout& layout, const std::byte* block) {
  Codes codes;
  for (int part = 0; part < 2; ++part, block += 16) {
    if constexpr (kCodes == CodeKind::kS8) {
      for (int j = 0; j < 8; ++j) {
        codes.w[j][part] = vreinterpretq_s8_u8(vld1q_u8(Bytes(block + 64 * j)));
      }
      continue;
    }
    uint8x16_t nibbles[8];
    for (int j = 0; j < 4; ++j) {
      const uint8x16_t both = vld1q_u8(Bytes(block + 64 * j));
      nibbles[j] = vandq_u8(both, vdupq_n_u8(15));
      nibbles[j + 4] = vshrq_n_u8(both, 4);
    }
    constexpr int kPlanes = kCodes == CodeKind::kU5 ? 1 : kCodes == CodeKind::kU6 ? 2 : 0;
    for (int plane = 0; plane < kPlanes; ++plane) {
      const uint8x16_t bits = vld1q_u8(Bytes(block + 256 + 64 * plane));
      for (int j = 0; j < 8; ++j) {
        const uint8x16_t moved =
            vshlq_u8(bits, vdupq_n_s8(static_cast<std::int8_t>(4 + plane - j)));
        const auto bit = static_cast<std::uint8_t>(16 << plane);
        nibbles[j] = vorrq_u8(nibbles[j], vandq_u8(moved, vdupq_n_u8(bit)));
      }
    }
    for (int j = 0; j < 8; ++j) {
      codes.w[j][part] = kCodes == CodeKind::kTable4
                             ? vqtbl1q_s8(vld1q_s8(layout.table), nibbles[j])
                             : vreinterpretq_s8_u8(nibbles[j]);
    }
  }
  return codes;
}

// Sums of products with 16 activations, for 4 rows; `w` steps through columns.
HWY_INLINE int32x4_t Dot(const int8x16_t (*w)[2], int part, int8x16_t x, int32x4_t sum) {
  sum = vdotq_laneq_s32(sum, w[0][part], x, 0);
  sum = vdotq_laneq_s32(sum, w[1][part], x, 1);
  sum = vdotq_laneq_s32(sum, w[2][part], x, 2);
  return vdotq_laneq_s32(sum, w[3][part], x, 3);
}

HWY_INLINE float32x4_t AddScaled(float32x4_t total, int32x4_t dot, float32x4_t scale,
                                 float x_scale) {
  return vfmaq_f32(total, vcvtq_f32_s32(dot), vmulq_n_f32(scale, x_scale));
}

// Adds one block of one token to the sums of 4 rows.
template <int kGroups>
HWY_INLINE void AddBlock(const Codes& codes, const Scales<kGroups>& scales, int part,
                         const ActivationBlock& x, float* sums) {
  const int8x16_t x0 = vld1q_s8(x.values), x1 = vld1q_s8(x.values + 16);
  const int32x4_t zero = vdupq_n_s32(0);
  float32x4_t total = vld1q_f32(sums);
  for (int group = 0; group < kGroups; ++group) {
    const Rows& minimum = scales.minimum[group];
    const float x_sum = kGroups == 1 ? x.sum : x.half_sums[group];
    total = vfmaq_n_f32(total, part == 0 ? minimum.low : minimum.high, x_sum);
  }
  const int32x4_t first = Dot(codes.w, part, x0, zero);
  const int32x4_t last = Dot(codes.w + 4, part, x1, kGroups == 1 ? first : zero);
  for (int group = 0; group < kGroups; ++group) {
    const Rows& scale = scales.scale[group];
    total = AddScaled(total, group == kGroups - 1 ? last : first,
                      part == 0 ? scale.low : scale.high, x.scale);
  }
  vst1q_f32(sums, total);
}

template <CodeKind kCodes, int kGroups>
void MultiplyTile(const QuantJob& job) {
  for (std::int64_t i = 0; i < job.tokens * kTileRows; ++i) job.sums[i] = 0.0f;
  const ActivationBlock* HWY_RESTRICT x = job.x;
  float* HWY_RESTRICT sums = job.sums;
  for (BlockCursor at(job); at.index < at.blocks; at.Next(), x += job.tokens) {
    for (std::int64_t line = 0; line < at.block_bytes; line += 64) {
      __builtin_prefetch(at.block + kPrefetchBytes + line);
    }
    for (int half = 0; half < 2; ++half) {
      const auto scales = LoadBlockScales<kGroups>(at, half);
      const Codes codes = Unpack<kCodes>(at.layout, at.block + 32 * half);
      for (std::int64_t t = 0; t < job.tokens; ++t) {
        float* target = sums + t * kTileRows + kHalfRows * half;
        AddBlock(codes, scales, 0, x[t], target);
        AddBlock(codes, scales, 1, x[t], target + 4);
      }
    }
  }
}

}  // namespace

void MultiplyNeonDot(const QuantJob& job) {
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

#endif  // 64-bit Arm
