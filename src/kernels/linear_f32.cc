// Exact products: f32 activations times the dequantised weights of one tile.
//
// A tile is widened to f32 [columns][16 rows] a chunk at a time (16 KB, half of a first-level
// cache) and used by all tokens of the group. Micro-kernel, AVX2: 6 tokens x 16 rows = 12
// accumulators, 2 weights, 1 broadcast activation: 15 of 16 registers, 12 FMAs for 8 loads. Sums
// are kept in memory between chunks, so every output adds its columns in order, whatever the number
// of tokens.
//
// Per token and weight: one FMA; 4 bytes of cache traffic for 6 tokens. One token alone pays the
// widening (about 60 instructions per 512 weights) and the latency of one FMA per column; quantised
// models decode with 8-bit activations unless asked otherwise.
#include "kernels/isa_dispatch.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_f32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>

#include "kernels/linear_kernels.h"
#include "kernels/packed_decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
namespace {

constexpr std::int64_t kChunkColumns = 256;

// Weights of some columns: [columns][16 rows], aligned.
struct Chunk {
  const float* weights;
  std::int64_t columns;
};

#if FOVEATE_PLAIN_LOOPS

constexpr int kMaxTokens = 2;

template <int kTokens>
void MultiplyTokens(Chunk chunk, const float* x, std::int64_t x_stride, float* sums) {
  float total[kTokens][kTileRows];
  std::copy_n(sums, kTokens * kTileRows, &total[0][0]);
  for (std::int64_t k = 0; k < chunk.columns; ++k) {
    for (int t = 0; t < kTokens; ++t) {
      const float value = x[t * x_stride + k];
      for (int row = 0; row < kTileRows; ++row) {
        total[t][row] += chunk.weights[k * kTileRows + row] * value;
      }
    }
  }
  std::copy_n(&total[0][0], kTokens * kTileRows, sums);
}

void WidenHalves(const std::byte* source, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = LoadScale(source + 2 * i, Half{});
}

#else

using Floats = hn::CappedTag<float, kTileRows>;
constexpr int kLanes = hn::MaxLanes(Floats());
constexpr int kMaxTokens = kLanes == 16 ? 12 : 6;

template <int kTokens>
void MultiplyTokens(Chunk chunk, const float* HWY_RESTRICT x, std::int64_t x_stride,
                    float* HWY_RESTRICT sums) {
  const Floats df;
  constexpr int kParts = kTileRows / kLanes;
  hn::Vec<Floats> total[kTokens][kParts];
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kParts; ++p) {
      total[t][p] = hn::Load(df, sums + t * kTileRows + p * kLanes);
    }
  }
  for (std::int64_t k = 0; k < chunk.columns; ++k) {
    hn::Vec<Floats> weights[kParts];
    for (int p = 0; p < kParts; ++p) {
      weights[p] = hn::Load(df, chunk.weights + k * kTileRows + p * kLanes);
    }
    for (int t = 0; t < kTokens; ++t) {
      const auto value = hn::Set(df, x[t * x_stride + k]);
      for (int p = 0; p < kParts; ++p) total[t][p] = hn::MulAdd(weights[p], value, total[t][p]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kParts; ++p) {
      hn::Store(total[t][p], df, sums + t * kTileRows + p * kLanes);
    }
  }
}

void WidenHalves(const std::byte* source, std::int64_t count, float* out) {
  const Floats df;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    hn::Store(LoadHalves(df, source + 2 * i), df, out + i);
  }
}

#endif

// All tokens of the group, kTokens at a time and then fewer.
template <int kTokens>
void MultiplyChunk(Chunk chunk, const float* x, std::int64_t x_stride, std::int64_t tokens,
                   float* sums) {
  while (tokens >= kTokens) {
    MultiplyTokens<kTokens>(chunk, x, x_stride, sums);
    x += kTokens * x_stride;
    sums += kTokens * kTileRows;
    tokens -= kTokens;
  }
  if constexpr (kTokens > 1) {
    if (tokens > 0) MultiplyChunk<kTokens - 1>(chunk, x, x_stride, tokens, sums);
  }
}

void WidenBFloat16(const std::byte* source, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    BFloat16 value;
    std::memcpy(&value, source + 2 * i, sizeof(value));
    out[i] = ToFloat(value);
  }
}

void DecodeAnyBlock(const PackedLayout& layout, const std::byte* block, const BlockScales& scales,
                    float values[][kTileRows]) {
  switch (layout.codes) {
    case CodeKind::kU4: return DecodeBlock<CodeKind::kU4>(layout, block, scales, values);
    case CodeKind::kU5: return DecodeBlock<CodeKind::kU5>(layout, block, scales, values);
    case CodeKind::kU6: return DecodeBlock<CodeKind::kU6>(layout, block, scales, values);
    case CodeKind::kTable4: return DecodeBlock<CodeKind::kTable4>(layout, block, scales, values);
    case CodeKind::kS8: return DecodeBlock<CodeKind::kS8>(layout, block, scales, values);
    default: return;
  }
}

// Columns [first, first + columns) of a quantised tile.
void Dequantize(const FloatJob& job, std::int64_t first, std::int64_t columns,
                float values[][kTileRows]) {
  const PackedLayout& layout = *job.layout;
  BlockScales scales;
  for (std::int64_t k = 0; k < columns; k += kBlockColumns) {
    const std::int64_t b = (first + k) / kBlockColumns;
    const std::byte* block = job.tile + layout.HeaderBytes(job.columns) + b * layout.BlockBytes();
    LoadBlockScales(layout, block + layout.CodeBytes() + layout.PlaneBytes(),
                    job.tile + b / kBlocksPerSuper * layout.SuperBytes(), scales);
    DecodeAnyBlock(layout, block, scales, values + k);
  }
}

void MultiplyFloats(const FloatJob& job) {
  alignas(64) float scratch[kChunkColumns][kTileRows];
  std::fill_n(job.sums, job.tokens * kTileRows, 0.0f);
  for (std::int64_t first = 0; first < job.columns; first += kChunkColumns) {
    Chunk chunk = {&scratch[0][0], std::min(kChunkColumns, job.columns - first)};
    const std::int64_t at = first * kTileRows;
    switch (job.layout->codes) {
      case CodeKind::kF32: chunk.weights = reinterpret_cast<const float*>(job.tile) + at; break;
      case CodeKind::kF16:
        WidenHalves(job.tile + 2 * at, chunk.columns * kTileRows, &scratch[0][0]);
        break;
      case CodeKind::kBF16:
        WidenBFloat16(job.tile + 2 * at, chunk.columns * kTileRows, &scratch[0][0]);
        break;
      default: Dequantize(job, first, chunk.columns, scratch); break;
    }
    MultiplyChunk<kMaxTokens>(chunk, job.x + first, job.x_stride, job.tokens, job.sums);
  }
}

constexpr FloatKernel kMultiplyFloats = MultiplyFloats;

}  // namespace
}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {
FloatKernel FloatKernelFor(Isa isa) { return FOVEATE_TABLE_FOR(isa, kMultiplyFloats); }
}  // namespace foveate
#endif
