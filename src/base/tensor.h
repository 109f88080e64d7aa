// View: a typed window on memory with a shape and strides; it owns nothing and must not outlive
// what it looks at. Extents and strides count elements; the last axis is the innermost.
//
//   View<float, 2> x = MakeView(buffer.data(), rows, columns);
//   x(3, 5) = 1.0f;  float* row = &x(3, 0);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "foveate/tensor_ref.h"

namespace foveate {

template <typename T, std::size_t kRank>
struct View {
  T* data = nullptr;
  std::array<std::int64_t, kRank> shape{};
  std::array<std::int64_t, kRank> strides{};

  template <typename... Index>
  T& operator()(Index... index) const {
    static_assert(sizeof...(Index) == kRank);
    const std::array<std::int64_t, kRank> at{static_cast<std::int64_t>(index)...};
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < kRank; ++axis) offset += at[axis] * strides[axis];
    return data[offset];
  }

  // A writable view serves where a read-only one is asked for.
  operator View<const T, kRank>() const
    requires(!std::is_const_v<T>)
  {
    return {data, shape, strides};
  }
};

// A dense row-major view.
template <typename T, typename... Extent>
View<T, sizeof...(Extent)> MakeView(T* data, Extent... extent) {
  const std::array<std::int64_t, sizeof...(Extent)> shape{static_cast<std::int64_t>(extent)...};
  return {data, shape, DenseStrides(shape)};
}

}  // namespace foveate
