// The weights of one linear layer, y = W x, repacked once at load for the matrix kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/buffer.h"
#include "base/context.h"
#include "format/stored_tensor.h"
#include "kernels/packed_layout.h"

namespace foveate {

class PackedMatrix {
 public:
  // Told about each part of the source bytes that will not be read again, from the calling thread,
  // so that a mapped file can give its pages back while a large matrix is still being packed.
  using ReleaseSource = std::function<void(std::span<const std::byte> part)>;

  PackedMatrix() = default;  // empty: 0 rows

  // Packs a stored matrix [rows, columns] with the threads of the context. Plain floats stay f32,
  // f16 or bf16; quantised blocks keep their codes and scales (see packed_layout.h); other types
  // that can be widened to floats are stored as f32. Throws Error: kUnsupported for a type that
  // cannot be widened, kCorruptFile when shape, type and byte count do not fit together.
  // Its memory comes from `slab`, which must outlive it, or is its own.
  static PackedMatrix Pack(Context& context, const StoredTensor& weights,
                           const ReleaseSource& release = {}, Slab* slab = nullptr);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t bytes() const { return tiles() * tile_bytes_; }  // as packed

  // One row as floats, `values` [columns]: bit-exact with the stored format's definition.
  void DequantizeRow(std::int64_t row, float* values) const;

  // For the kernels.
  const PackedLayout& layout() const { return layout_; }
  std::int64_t tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }
  std::int64_t tile_bytes() const { return tile_bytes_; }
  const std::byte* tile(std::int64_t index) const { return data_ + index * tile_bytes_; }

 private:
  PackedLayout layout_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::int64_t tile_bytes_ = 0;
  Buffer<std::byte> own_;  // empty: the memory is a slab's
  const std::byte* data_ = nullptr;
};

}  // namespace foveate
