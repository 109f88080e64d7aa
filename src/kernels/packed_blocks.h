// Quantised blocks of files, read for packing: codes and scales apart, 32 columns at a time.
#pragma once

#include <array>
#include <cstdint>

#include "format/tensor_type.h"
#include "kernels/packed_layout.h"

namespace foveate {

// 32 columns of one row. Scales and minima are the raw bits of the layout's scale kind (f16, f32 or
// a signed byte), one per group of columns.
struct StoredBlock {
  std::array<std::uint8_t, kBlockColumns> codes;
  std::array<std::uint32_t, 2> scales;
  std::array<std::uint32_t, 2> minima;
  std::uint16_t super_scale;    // f16, for ScaleKind::kSuper
  std::uint16_t super_minimum;  // f16, its sign such that minima are added
};

struct BlockFormat {
  PackedLayout layout;
  // Reads columns [32 part, 32 part + 32) of the stored block at `bytes` (not aligned).
  void (*read)(const std::uint8_t* bytes, int part, StoredBlock& block);
};

// How blocks of `type` are read and packed, or null for a type that has no packed form of its own.
const BlockFormat* FindBlockFormat(TensorType type);

}  // namespace foveate
