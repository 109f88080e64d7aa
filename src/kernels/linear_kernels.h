// The inner products of Linear(): one tile of 16 rows times one group of tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "kernels/activations.h"
#include "kernels/packed_layout.h"

namespace foveate {

// sums [tokens][16 rows] = rounded activations times a tile of quantised weights.
struct QuantJob {
  const PackedLayout* layout;
  const std::byte* tile;
  std::int64_t columns;
  const ActivationBlock* x;  // [columns / 32][tokens]
  std::int64_t tokens;       // at most Activations::kGroupTokens
  float* sums;               // aligned to a cache line
};

// sums [tokens][16 rows] = f32 activations times a tile of any kind.
struct FloatJob {
  const PackedLayout* layout;
  const std::byte* tile;
  std::int64_t columns;
  const float* x;  // [tokens][columns], rows `x_stride` apart
  std::int64_t x_stride;
  std::int64_t tokens;
  float* sums;
};

using QuantKernel = void (*)(const QuantJob& job);
using FloatKernel = void (*)(const FloatJob& job);

// Walks through the blocks of a quantised tile.
struct BlockCursor {
  explicit BlockCursor(const QuantJob& job)
      : layout(*job.layout),
        super(job.tile),
        block(job.tile + layout.HeaderBytes(job.columns)),
        blocks(job.columns / kBlockColumns),
        block_bytes(layout.BlockBytes()),
        scales_at(layout.CodeBytes() + layout.PlaneBytes()) {}

  const std::byte* scales() const { return block + scales_at; }
  void Next() {
    block += block_bytes;
    if (++index % kBlocksPerSuper == 0) super += layout.SuperBytes();
  }

  const PackedLayout& layout;
  const std::byte* super;  // scales of the superblock
  const std::byte* block;
  std::int64_t blocks, block_bytes, scales_at;
  std::int64_t index = 0;
};

// How far ahead of its use a tile is fetched: a few blocks, so that a single token, which reads at
// the speed of memory, never waits for the first line of a page.
inline constexpr std::int64_t kPrefetchBytes = 2048;

QuantKernel QuantKernelFor(Isa isa);
FloatKernel FloatKernelFor(Isa isa);

// For instruction sets that Highway has no target for: x86 with AVX-512 VNNI, 64-bit Arm with dot
// products. Each is defined on its architecture only.
void MultiplyVnni(const QuantJob& job);
void MultiplyNeonDot(const QuantJob& job);

}  // namespace foveate
