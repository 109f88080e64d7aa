// A named tensor inside a mapped file: what it is called, how it is stored, where its bytes lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/tensor_type.h"

namespace foveate {

struct StoredTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;   // outermost extent first in all formats; {} is a scalar
  std::span<const std::byte> bytes;  // row-major, maybe unaligned; lives as long as the file object

  std::int64_t elements() const {
    std::int64_t product = 1;
    for (std::int64_t extent : shape) product *= extent;
    return product;
  }
  std::int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  std::int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
};

}  // namespace foveate
