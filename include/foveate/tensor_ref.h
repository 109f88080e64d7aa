// Tensors whose element type is known at run time, as callers hold them: any strides, also 0.
//
//   TensorRef<4> query = DenseRef(q.data(), {batch, heads, rows, dim});
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace foveate {

enum class ElementType { kF32, kF16, kBF16 };

inline const char* ElementTypeName(ElementType type) {
  return type == ElementType::kF32 ? "f32" : type == ElementType::kF16 ? "f16" : "bf16";
}
inline std::int64_t ElementBytes(ElementType type) { return type == ElementType::kF32 ? 4 : 2; }

// Extents and strides count elements. `Byte` is std::byte or const std::byte. It owns nothing and
// must not outlive what it refers to.
template <typename Byte, std::size_t kRank>
struct BasicTensorRef {
  Byte* data = nullptr;
  ElementType type = ElementType::kF32;
  std::array<std::int64_t, kRank> shape{};
  std::array<std::int64_t, kRank> strides{};

  // The element at the given first indices and zeros.
  template <typename... Index>
  Byte* At(Index... index) const {
    const std::array<std::int64_t, sizeof...(Index)> at{static_cast<std::int64_t>(index)...};
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) offset += at[axis] * strides[axis];
    return data + offset * ElementBytes(type);
  }

  // What is writable serves where something to read is asked for.
  operator BasicTensorRef<const std::byte, kRank>() const
    requires(!std::is_const_v<Byte>)
  {
    return {data, type, shape, strides};
  }
};

template <std::size_t kRank>
using TensorRef = BasicTensorRef<const std::byte, kRank>;
template <std::size_t kRank>
using MutableTensorRef = BasicTensorRef<std::byte, kRank>;

// Strides of a tensor that lies in one piece, the last axis innermost.
template <std::size_t kRank>
std::array<std::int64_t, kRank> DenseStrides(const std::array<std::int64_t, kRank>& shape) {
  std::array<std::int64_t, kRank> strides{};
  std::int64_t stride = 1;
  for (std::size_t axis = kRank; axis-- > 0;) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

// Such a tensor of floats.
template <std::size_t kRank>
TensorRef<kRank> DenseRef(const float* data, const std::int64_t (&shape)[kRank]) {
  const auto extents = std::to_array(shape);
  return {reinterpret_cast<const std::byte*>(data), ElementType::kF32, extents,
          DenseStrides(extents)};
}
template <std::size_t kRank>
MutableTensorRef<kRank> DenseRef(float* data, const std::int64_t (&shape)[kRank]) {
  const auto extents = std::to_array(shape);
  return {reinterpret_cast<std::byte*>(data), ElementType::kF32, extents, DenseStrides(extents)};
}

}  // namespace foveate
