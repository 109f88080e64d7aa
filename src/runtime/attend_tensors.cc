#include "runtime/attend_tensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "base/throw.h"
#include "format/quant.h"

namespace foveate {

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void CheckFloats(const SafetensorsFile& file, const StoredTensor& tensor) {
  if (tensor.type == TensorType::kF32 || tensor.type == TensorType::kF16 ||
      tensor.type == TensorType::kBF16) {
    return;
  }
  Throw(ErrorCode::kUnsupported, "{}: tensor {} is {}, expected F32, F16 or BF16", file.path(),
        tensor.name, TensorTypeName(tensor.type));
}

HeldTensor::HeldTensor(const SafetensorsFile& file, const StoredTensor& tensor) {
  if (tensor.shape.size() != 3 && tensor.shape.size() != 4) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: tensor {} has shape {}, expected [B, H, N, D] or [H, N, D]", file.path(),
          tensor.name, ShapeText(tensor.shape));
  }
  const std::size_t missing = 4 - tensor.shape.size();
  shape_.fill(1);
  for (std::size_t i = missing; i < 4; ++i) shape_[i] = tensor.shape[i - missing];
  CheckFloats(file, tensor);
  type_ = tensor.type == TensorType::kF32   ? ElementType::kF32
          : tensor.type == TensorType::kF16 ? ElementType::kF16
                                            : ElementType::kBF16;
  bytes_ = Buffer<std::byte>(std::ssize(tensor.bytes));
  std::memcpy(bytes_.data(), tensor.bytes.data(), tensor.bytes.size());
}

HeldTensor RequiredTensor(const SafetensorsFile& file, std::string_view name) {
  const StoredTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) {
    Throw(ErrorCode::kNotFound,
          "{}: has no tensor '{}' (attention needs q, k and v, and extra_k with extra_v)",
          file.path(), name);
  }
  return HeldTensor(file, *tensor);
}

std::optional<HeldTensor> OptionalTensor(const SafetensorsFile& file, std::string_view name,
                                         std::string_view other) {
  if (file.FindTensor(name) == nullptr && file.FindTensor(other) == nullptr) return std::nullopt;
  return RequiredTensor(file, name);
}

std::vector<float> Widened(const SafetensorsFile& file, const StoredTensor& tensor) {
  if (!CanDequantize(tensor.type)) {
    Throw(ErrorCode::kUnsupported, "{}: tensor {} is {}, which is no type of numbers known here",
          file.path(), tensor.name, TensorTypeName(tensor.type));
  }
  std::vector<float> values(tensor.elements());
  DequantizeRow(tensor.type, tensor.bytes.data(), values);
  return values;
}

NamedTensor::NamedTensor(std::string given_name, std::vector<std::int64_t> given_shape)
    : name(std::move(given_name)),
      shape(std::move(given_shape)),
      values(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())) {}

MutableTensorRef<4> NamedTensor::ref() {
  return DenseRef(values.data(), {shape.at(0), shape.at(1), shape.at(2), shape.at(3)});
}

}  // namespace foveate
