#include "kernels/packed_matrix.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "base/checked.h"
#include "base/half.h"
#include "base/throw.h"
#include "format/quant.h"
#include "kernels/packed_blocks.h"

namespace foveate {
namespace {

using Words = std::array<std::uint32_t, 8>;  // 32 codes, four to a word

// Source bytes packed between two releases: small against a model, large against a fork.
constexpr std::int64_t kBatchBytes = 8 << 20;

void StoreWord(std::byte* target, std::uint32_t word) { std::memcpy(target, &word, 4); }

std::uint32_t LoadWord(const std::byte* source) {
  std::uint32_t word;
  std::memcpy(&word, source, 4);
  return word;
}

// The 32 codes of one row of a block; `block` is its first byte.
void StoreCodes(const PackedLayout& layout, const Words& words, int row, std::byte* block) {
  std::byte* target = block + 4 * row;
  if (layout.codes == CodeKind::kS8) {
    for (int j = 0; j < 8; ++j) StoreWord(target + 64 * j, words[j]);
    return;
  }
  constexpr std::uint32_t kNibbles = 0x0f0f0f0f;
  for (int j = 0; j < 4; ++j) {
    StoreWord(target + 64 * j, (words[j] & kNibbles) | (words[j + 4] & kNibbles) << 4);
  }
  for (int plane = 0; plane < layout.Planes(); ++plane) {
    std::uint32_t bits = 0;
    for (int j = 0; j < 8; ++j) bits |= ((words[j] >> (4 + plane)) & 0x01010101u) << j;
    StoreWord(target + 256 + 64 * plane, bits);
  }
}

// The code of one column, signed where codes are; tables are looked up.
int LoadCode(const PackedLayout& layout, const std::byte* block, int row, int column) {
  const int j = column / 4, e = column % 4;
  const std::byte* source = block + 4 * row;
  if (layout.codes == CodeKind::kS8) return static_cast<std::int8_t>(source[64 * j + e]);
  int code = static_cast<int>(source[64 * (j % 4) + e]) >> (j < 4 ? 0 : 4) & 15;
  for (int plane = 0; plane < layout.Planes(); ++plane) {
    code |= (static_cast<int>(source[256 + 64 * plane + e]) >> j & 1) << (4 + plane);
  }
  return layout.table != nullptr ? layout.table[code] : code;
}

// Scales [groups][16 rows] of raw bits.
void StoreScales(const PackedLayout& layout, const std::array<std::uint32_t, 2>& scales, int row,
                 std::byte* target) {
  const std::int64_t element = layout.ScaleBytes() / (layout.groups * kTileRows);
  for (int group = 0; group < layout.groups; ++group) {
    std::memcpy(target + (group * kTileRows + row) * element, &scales[group], element);
  }
}

float LoadHalf(const std::byte* source) {
  Half half;
  std::memcpy(&half, source, sizeof(half));
  return ToFloat(half);
}

float LoadBFloat16(const std::byte* source) {
  BFloat16 value;
  std::memcpy(&value, source, sizeof(value));
  return ToFloat(value);
}

// One scale (or minimum); `super` are the superblock's 16 factors.
float LoadScale(const PackedLayout& layout, const std::byte* scales, const std::byte* super,
                int group, int row) {
  const int at = group * kTileRows + row;
  switch (layout.scales) {
    case ScaleKind::kHalf: return LoadHalf(scales + 2 * at);
    case ScaleKind::kFloat: return std::bit_cast<float>(LoadWord(scales + 4 * at));
    case ScaleKind::kSuper: break;
  }
  return LoadHalf(super + 2 * row) * static_cast<float>(static_cast<std::int8_t>(scales[at]));
}

void PackBlockTile(const BlockFormat& format, const TensorTypeInfo& type, std::int64_t columns,
                   std::int64_t rows, const std::byte* source, std::byte* tile) {
  const PackedLayout& layout = format.layout;
  const std::int64_t parts = type.block_values / kBlockColumns;
  const std::int64_t row_bytes = columns / type.block_values * type.block_bytes;
  StoredBlock stored{};
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(source + row * row_bytes);
    const int lane = static_cast<int>(row);
    std::byte* block = tile + layout.HeaderBytes(columns);
    std::byte* super = tile;
    for (std::int64_t i = 0; i < columns / type.block_values; ++i, bytes += type.block_bytes) {
      for (int part = 0; part < parts; ++part, block += layout.BlockBytes()) {
        format.read(bytes, part, stored);
        StoreCodes(layout, std::bit_cast<Words>(stored.codes), lane, block);
        std::byte* scales = block + layout.CodeBytes() + layout.PlaneBytes();
        StoreScales(layout, stored.scales, lane, scales);
        if (layout.minima) StoreScales(layout, stored.minima, lane, scales + layout.ScaleBytes());
      }
      if (layout.scales == ScaleKind::kSuper) {
        std::memcpy(super + 2 * lane, &stored.super_scale, 2);
        if (layout.minima) std::memcpy(super + 2 * (16 + lane), &stored.super_minimum, 2);
        super += layout.SuperBytes();
      }
    }
  }
}

// Tiles of plain floats: the transpose of up to 16 rows.
template <typename T>
void PackPlainTile(const std::byte* source, std::int64_t columns, std::int64_t rows,
                   std::byte* tile) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < columns; ++k) {
      std::memcpy(tile + (k * kTileRows + row) * sizeof(T),
                  source + (row * columns + k) * sizeof(T), sizeof(T));
    }
  }
}

void PackWidenedTile(const TensorTypeInfo& type, const std::byte* source, std::int64_t columns,
                     std::int64_t rows, std::byte* tile) {
  const std::int64_t row_bytes = columns / type.block_values * type.block_bytes;
  std::vector<float> values(columns * rows);
  for (std::int64_t row = 0; row < rows; ++row) {
    DequantizeRow(type.type, source + row * row_bytes,
                  {values.data() + row * columns, static_cast<std::size_t>(columns)});
  }
  PackPlainTile<float>(reinterpret_cast<const std::byte*>(values.data()), columns, rows, tile);
}

// One row of a tile of blocks.
void DequantizeBlockRow(const PackedLayout& layout, const std::byte* tile, int row,
                        std::int64_t columns, float* values) {
  const std::byte* block = tile + layout.HeaderBytes(columns);
  const int width = kBlockColumns / layout.groups;
  for (std::int64_t b = 0; b < columns / kBlockColumns; ++b, block += layout.BlockBytes()) {
    const std::byte* super = tile + b / kBlocksPerSuper * layout.SuperBytes();
    const std::byte* scales = block + layout.CodeBytes() + layout.PlaneBytes();
    const std::byte* minima = scales + layout.ScaleBytes();
    for (int k = 0; k < kBlockColumns; ++k) {
      const int group = k / width;
      const float scale = LoadScale(layout, scales, super, group, row);
      float value = scale * static_cast<float>(LoadCode(layout, block, row, k) - layout.offset);
      if (layout.minima) value += LoadScale(layout, minima, super + 2 * kTileRows, group, row);
      *values++ = value;
    }
  }
}

PackedLayout LayoutFor(TensorType type) {
  if (const BlockFormat* format = FindBlockFormat(type)) return format->layout;
  switch (type) {
    case TensorType::kF16: return {.codes = CodeKind::kF16};
    case TensorType::kBF16: return {.codes = CodeKind::kBF16};
    default: return {.codes = CodeKind::kF32};
  }
}

void PackTile(const TensorTypeInfo& type, const std::byte* source, std::int64_t columns,
              std::int64_t rows, std::byte* tile) {
  if (const BlockFormat* format = FindBlockFormat(type.type)) {
    return PackBlockTile(*format, type, columns, rows, source, tile);
  }
  switch (type.type) {
    case TensorType::kF32: return PackPlainTile<std::uint32_t>(source, columns, rows, tile);
    case TensorType::kF16:
    case TensorType::kBF16: return PackPlainTile<std::uint16_t>(source, columns, rows, tile);
    default: return PackWidenedTile(type, source, columns, rows, tile);
  }
}

// Checks that the tensor is what it says and returns the description of its type.
const TensorTypeInfo& CheckedType(const StoredTensor& weights) {
  const TensorTypeInfo* type = FindTensorType(weights.type);
  if (type == nullptr || !CanDequantize(weights.type)) {
    Throw(ErrorCode::kUnsupported, "tensor '{}': weights of type {} cannot be computed with",
          weights.name, TensorTypeName(weights.type));
  }
  const std::int64_t columns = weights.columns();
  if (columns % type->block_values != 0) {
    Throw(ErrorCode::kCorruptFile, "tensor '{}': {} columns are no multiple of {}'s block of {}",
          weights.name, columns, type->name, type->block_values);
  }
  const std::int64_t bytes = weights.elements() / type->block_values * type->block_bytes;
  if (bytes != static_cast<std::int64_t>(weights.bytes.size())) {
    Throw(ErrorCode::kCorruptFile, "tensor '{}': {} bytes, its shape and type {} need {}",
          weights.name, weights.bytes.size(), type->name, bytes);
  }
  return *type;
}

}  // namespace

PackedMatrix PackedMatrix::Pack(Context& context, const StoredTensor& weights,
                                const ReleaseSource& release, Slab* slab) {
  const TensorTypeInfo& type = CheckedType(weights);
  PackedMatrix packed;
  packed.layout_ = LayoutFor(weights.type);
  packed.rows_ = weights.rows();
  packed.columns_ = weights.columns();
  packed.tile_bytes_ = packed.layout_.TileBytes(packed.columns_);
  if (slab == nullptr) packed.own_ = Buffer<std::byte>(packed.bytes());
  std::byte* const memory = slab == nullptr ? packed.own_.data() : slab->New(packed.bytes());
  packed.data_ = memory;

  const std::int64_t row_bytes = packed.columns_ / type.block_values * type.block_bytes;
  const std::int64_t source_tile = row_bytes * kTileRows;
  const std::int64_t batch =
      std::max<std::int64_t>(1, kBatchBytes / std::max<std::int64_t>(1, source_tile));
  for (std::int64_t first = 0; first < packed.tiles(); first += batch) {
    const std::int64_t count = std::min(batch, packed.tiles() - first);
    context.pool().ForEach(count, [&](std::int64_t i, int) {
      const std::int64_t tile = first + i;
      const std::int64_t rows = std::min<std::int64_t>(kTileRows, packed.rows_ - tile * kTileRows);
      PackTile(type, weights.bytes.data() + tile * source_tile, packed.columns_, rows,
               memory + tile * packed.tile_bytes_);
    });
    if (release) {
      const std::size_t begin = first * source_tile;
      release(weights.bytes.subspan(
          begin, std::min<std::size_t>(count * source_tile, weights.bytes.size() - begin)));
    }
  }
  return packed;
}

void PackedMatrix::DequantizeRow(std::int64_t row, float* values) const {
  const std::byte* tile = this->tile(row / kTileRows);
  const int lane = static_cast<int>(row % kTileRows);
  if (layout_.quantized()) {
    DequantizeBlockRow(layout_, tile, lane, columns_, values);
    return;
  }
  for (std::int64_t k = 0; k < columns_; ++k) {
    const std::int64_t at = k * kTileRows + lane;
    switch (layout_.codes) {
      case CodeKind::kF16: values[k] = LoadHalf(tile + 2 * at); break;
      case CodeKind::kBF16: values[k] = LoadBFloat16(tile + 2 * at); break;
      default: values[k] = std::bit_cast<float>(LoadWord(tile + 4 * at)); break;
    }
  }
}

}  // namespace foveate
