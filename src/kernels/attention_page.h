// How keys and values lie in memory. A page is 64 positions; per KV head it has a block of
//
//   keys    [D][64]    transposed, so that the scores of 64 keys are plain vectors
//   values  [64][Dv']  Dv' = Dv rounded up to 16 elements
//
// as f32, f16, bf16, q8_0 or q4_0. The last two are the GGUF format's arithmetic in another order:
// signed bytes or nibbles and an f16 scale per 32 elements of a position's row; scales lie behind
// the codes, [D/32][64] for keys and [64][Dv/32] for values. A byte of nibbles holds element i
// of the row below and element i + D/2 above, as the format's codes: 8 is zero.
//
// Tensors that are packed for one call are floats in panels of 16 columns, as the micro-GEMM reads
// them:
//
//   keys    [64/16][D][16] per page
//   values  [Dv'/16][n 64][16] for n pages that are used together; a page begins at its first row
//
// or bfloat16 for a matrix unit, which takes two of the depth side by side:
//
//   keys    [64/16][D''/2][16][2]        D'' = D rounded up to 32 elements
//   values  [Dv'/16][n 64/2][16][2]
//
// Memory is [pieces][KV heads], each with the key blocks of its four pages and then the value
// blocks: the order in which decoding reads them, so that it streams.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/checked.h"
#include "base/tensor_ref.h"
#include "kernels/matrix_unit.h"

namespace foveate {

enum class KvType { kF32, kF16, kBF16, kQ8_0, kQ4_0 };

// Whether elements are codes, with a scale for every kCodeBlock of a row.
constexpr bool HasScales(KvType type) { return type == KvType::kQ8_0 || type == KvType::kQ4_0; }

constexpr std::int64_t ElementBits(KvType type) {
  switch (type) {
    case KvType::kF32: return 32;
    case KvType::kF16:
    case KvType::kBF16: return 16;
    case KvType::kQ8_0: return 8;
    case KvType::kQ4_0: return 4;
  }
  return 0;
}

inline constexpr std::int64_t kPageKeys = 64;
inline constexpr std::int64_t kPiecePages = 4;  // pages that a kernel takes at a time: a piece
inline constexpr std::int64_t kPieceKeys = kPiecePages * kPageKeys;
inline constexpr std::int64_t kPanel = 16;  // columns of a packed panel; widths are rounded to it
inline constexpr std::int64_t kCodeBlock = 32;  // elements that share a scale

struct PageLayout {
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  KvType key_type = KvType::kF32;
  KvType value_type = KvType::kF32;
  std::int64_t value_panel = 0;  // packed: elements of a panel of values; else 0
  bool pairs = false;            // packed: bfloat16 for a matrix unit, not floats

  bool packed() const { return value_panel > 0; }  // panels, made for one call

  // Of a packed page, in the room of floats; and from one page of values to the next in a panel.
  std::int64_t packed_keys() const {
    return pairs ? kPageKeys * unit_depth() / 2 : kPageKeys * key_dim;
  }
  std::int64_t packed_values() const { return packed_value_step() * value_width() / kPanel; }
  std::int64_t packed_value_step() const { return kPageKeys * kPanel / (pairs ? 2 : 1); }
  std::int64_t unit_depth() const { return RoundUp(key_dim, kUnitDepth); }

  // Rows of a caller's tensor, read where they lie: elements of `row_type`, side by side, rows as
  // many elements apart. For few query rows, which would not repay packing.
  ElementType row_type = ElementType::kF32;
  std::int64_t key_stride = 0;
  std::int64_t value_stride = 0;
  bool in_place = false;

  std::int64_t value_width() const { return RoundUp(value_dim, kPanel); }

  // All in bytes, multiples of a cache line, for one page of one KV head.
  std::int64_t key_bytes() const { return Bytes(key_type, key_dim); }
  std::int64_t value_bytes() const { return Bytes(value_type, value_width()); }
  std::int64_t value_row_bytes() const { return value_width() * ElementBits(value_type) / 8; }
  std::int64_t piece_bytes() const { return kPiecePages * (key_bytes() + value_bytes()); }

  // Offsets of a page's blocks, the pages counted from the beginning of memory.
  std::int64_t KeyOffset(std::int64_t page, std::int64_t kv_head, std::int64_t kv_heads) const {
    return (page / kPiecePages * kv_heads + kv_head) * piece_bytes() +
           page % kPiecePages * key_bytes();
  }
  std::int64_t ValueOffset(std::int64_t page, std::int64_t kv_head, std::int64_t kv_heads) const {
    return (page / kPiecePages * kv_heads + kv_head) * piece_bytes() + kPiecePages * key_bytes() +
           page % kPiecePages * value_bytes();
  }

  // Where the scales of a block of codes begin.
  std::int64_t key_scales() const { return CodeBytes(key_type, key_dim); }
  std::int64_t value_scales() const { return CodeBytes(value_type, value_width()); }

 private:
  static std::int64_t CodeBytes(KvType type, std::int64_t width) {
    return kPageKeys * width * ElementBits(type) / 8;
  }
  static std::int64_t Bytes(KvType type, std::int64_t width) {
    return CodeBytes(type, width) + (HasScales(type) ? kPageKeys * width / kCodeBlock * 2 : 0);
  }
};

// Of keys alone, in panels.
constexpr PageLayout PanelLayout(std::int64_t key_dim) {
  return {.key_dim = key_dim, .value_panel = 1};
}

}  // namespace foveate
