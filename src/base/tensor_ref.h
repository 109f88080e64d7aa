// A TensorRef of what a View looks at, and single elements of tensors.
#pragma once

#include <cstddef>

#include "base/half.h"
#include "base/tensor.h"
#include "foveate/tensor_ref.h"

namespace foveate {

template <std::size_t kRank>
TensorRef<kRank> RefOf(const View<const float, kRank>& view) {
  return {reinterpret_cast<const std::byte*>(view.data), ElementType::kF32, view.shape,
          view.strides};
}
template <std::size_t kRank>
MutableTensorRef<kRank> RefOf(const View<float, kRank>& view) {
  return {reinterpret_cast<std::byte*>(view.data), ElementType::kF32, view.shape, view.strides};
}

inline float ReadElement(const std::byte* from, ElementType type) {
  switch (type) {
    case ElementType::kF32: return *reinterpret_cast<const float*>(from);
    case ElementType::kF16: return ToFloat(*reinterpret_cast<const Half*>(from));
    case ElementType::kBF16: return ToFloat(*reinterpret_cast<const BFloat16*>(from));
  }
  return 0;
}

// Rounds to nearest even.
inline void WriteElement(float value, std::byte* to, ElementType type) {
  switch (type) {
    case ElementType::kF32: *reinterpret_cast<float*>(to) = value; break;
    case ElementType::kF16: *reinterpret_cast<Half*>(to) = ToHalf(value); break;
    case ElementType::kBF16: *reinterpret_cast<BFloat16*>(to) = ToBFloat16(value); break;
  }
}

}  // namespace foveate
