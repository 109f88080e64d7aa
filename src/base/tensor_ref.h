// A TensorRef of what a View looks at.
#pragma once

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

}  // namespace foveate
