// The tensors of a file that attention is run on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/tensor_ref.h"
#include "format/safetensors.h"

namespace foveate {

using Shape4 = std::array<std::int64_t, 4>;

// "[2, 3, 4]"
std::string ShapeText(const std::vector<std::int64_t>& shape);

// A tensor of the file in memory of its own, aligned (a file need not be), with four axes: [B, H,
// N, D], or [H, N, D] in the file.
class HeldTensor {
 public:
  // Throws Error(kInvalidArgument, kUnsupported) naming file and tensor for other ranks and types.
  HeldTensor(const SafetensorsFile& file, const StoredTensor& tensor);

  const Shape4& shape() const { return shape_; }
  TensorRef<4> ref() const { return {bytes_.data(), type_, shape_, DenseStrides(shape_)}; }

 private:
  Buffer<std::byte> bytes_;
  ElementType type_ = ElementType::kF32;
  Shape4 shape_;
};

// Throws Error(kNotFound) where the file has none.
HeldTensor RequiredTensor(const SafetensorsFile& file, std::string_view name);

// Nothing where the file has neither the tensor nor the one that belongs to it.
std::optional<HeldTensor> OptionalTensor(const SafetensorsFile& file, std::string_view name,
                                         std::string_view other);

// Throws Error(kUnsupported) naming file and tensor for other types than F32, F16 and BF16.
void CheckFloats(const SafetensorsFile& file, const StoredTensor& tensor);

// As floats, of any type that can be widened to them.
std::vector<float> Widened(const SafetensorsFile& file, const StoredTensor& tensor);

// A tensor of floats, row-major, as it is written to a file.
struct NamedTensor {
  NamedTensor(std::string given_name, std::vector<std::int64_t> given_shape);
  NamedTensor(std::string given_name, const Shape4& given_shape)
      : NamedTensor(std::move(given_name),
                    std::vector<std::int64_t>(given_shape.begin(), given_shape.end())) {}

  MutableTensorRef<4> ref();  // of four axes

  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // zeros at first
};

}  // namespace foveate
