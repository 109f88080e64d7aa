// How the weights of a linear layer lie in memory once packed: the contract between the packer
// (packed_matrix.cc) and the kernels (linear_*.cc).
//
// One layout serves every instruction set. The matrix is cut into tiles of 16 rows; a tile is a
// sequence of blocks of 32 columns (a "panel" that a kernel reads from first byte to last):
//
//   tile  := [superblock scales] block*
//   block := codes [planes] scales [minima]
//
//   codes   4-bit: byte (j, row, e), j < 4, e < 4, holds column 4j+e in its low and column 16+4j+e
//           in its high half; 8-bit: byte (j, row, e), j < 8, holds column 4j+e. So 64 consecutive
//           bytes are 4 consecutive columns of 16 rows: one AVX-512 register, two of AVX2, four of
//           NEON, ready for instructions that add products of 4 neighbouring bytes.
//   planes  bits 4 and 5 of wider codes, one 32-bit word per row and plane: bit j of byte e belongs
//           to column 4j+e.
//   scales  per group of columns (the whole block, or each half of it), one per row.
//
//   value = scale * (code - offset)      or      scale * code + minimum
//
// Scales are kept as the file has them, so that a packed matrix is no larger than the stored one
// and yields the same values bit for bit. Columns past the last row of the matrix are zero.
//
// Matrices of plain floats have tiles of [column][16 rows] elements and any number of columns.
#pragma once

#include <cstddef>
#include <cstdint>

namespace foveate {

inline constexpr int kTileRows = 16;
inline constexpr int kBlockColumns = 32;
inline constexpr int kBlocksPerSuper = 8;  // K-quants share a scale among 256 columns

enum class CodeKind : std::uint8_t {
  kU4,      // 0..15
  kU5,      // 0..31: one plane
  kU6,      // 0..63: two planes
  kTable4,  // 4-bit index into `PackedLayout::table`
  kS8,      // signed bytes
  kF32,
  kF16,
  kBF16,
};

enum class ScaleKind : std::uint8_t {
  kHalf,   // f16 per group and row
  kFloat,  // f32 per group and row
  kSuper,  // f16 per superblock and row, times a signed byte per group and row
};

struct PackedLayout {
  CodeKind codes = CodeKind::kF32;
  ScaleKind scales = ScaleKind::kHalf;
  bool minima = false;  // a minimum beside each scale, of the same kind
  int offset = 0;       // subtracted from codes; 0 with minima and for signed codes
  int groups = 1;       // per block of 32 columns: 1, or 2 (columns 0..15 and 16..31)
  const std::int8_t* table = nullptr;  // [16], for kTable4

  bool quantized() const { return codes < CodeKind::kF32; }

  std::int64_t CodeBytes() const { return codes == CodeKind::kS8 ? 512 : 256; }
  int Planes() const { return codes == CodeKind::kU5 ? 1 : codes == CodeKind::kU6 ? 2 : 0; }
  std::int64_t PlaneBytes() const { return Planes() * kTileRows * 4; }
  // Bytes of one set of scales (or minima): [groups][16 rows].
  std::int64_t ScaleBytes() const {
    return groups * kTileRows *
           (scales == ScaleKind::kHalf    ? 2
            : scales == ScaleKind::kFloat ? 4
                                          : 1);
  }
  std::int64_t BlockBytes() const {
    return CodeBytes() + PlaneBytes() + ScaleBytes() * (minima ? 2 : 1);
  }
  // Bytes of one superblock's f16 scales [16 rows], followed by as many for minima.
  std::int64_t SuperBytes() const {
    return scales == ScaleKind::kSuper ? kTileRows * 2 * (minima ? 2 : 1) : 0;
  }
  std::int64_t HeaderBytes(std::int64_t columns) const {
    return (columns + kBlockColumns * kBlocksPerSuper - 1) / (kBlockColumns * kBlocksPerSuper) *
           SuperBytes();
  }
  std::int64_t TileBytes(std::int64_t columns) const {
    if (!quantized()) return columns * kTileRows * (codes == CodeKind::kF32 ? 4 : 2);
    return HeaderBytes(columns) + columns / kBlockColumns * BlockBytes();
  }
};

}  // namespace foveate
