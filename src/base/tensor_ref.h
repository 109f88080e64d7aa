// Tensors whose element type is known at run time, as callers hold them: any strides, also 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/tensor.h"

namespace foveate {

enum class ElementType { kF32, kF16, kBF16 };

inline const char* ElementTypeName(ElementType type) {
  return type == ElementType::kF32 ? "f32" : type == ElementType::kF16 ? "f16" : "bf16";
}
inline std::int64_t ElementBytes(ElementType type) { return type == ElementType::kF32 ? 4 : 2; }

// Extents and strides count elements. `Byte` is std::byte or const std::byte.
template <typename Byte, int kRank>
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
};

template <int kRank>
using TensorRef = BasicTensorRef<const std::byte, kRank>;
template <int kRank>
using MutableTensorRef = BasicTensorRef<std::byte, kRank>;

template <int kRank>
TensorRef<kRank> RefOf(const View<const float, kRank>& view) {
  return {reinterpret_cast<const std::byte*>(view.data), ElementType::kF32, view.shape,
          view.strides};
}
template <int kRank>
MutableTensorRef<kRank> RefOf(const View<float, kRank>& view) {
  return {reinterpret_cast<std::byte*>(view.data), ElementType::kF32, view.shape, view.strides};
}

}  // namespace foveate
