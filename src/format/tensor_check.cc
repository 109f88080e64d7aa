#include "format/tensor_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "format/printable.h"
#include "format/quant.h"

namespace foveate {
namespace {

bool HoldsFloats(TensorType type) {
  switch (type) {
    case TensorType::kI8:
    case TensorType::kI16:
    case TensorType::kI32:
    case TensorType::kI64:
    case TensorType::kU8:
    case TensorType::kU16:
    case TensorType::kU32:
    case TensorType::kU64:
    case TensorType::kBool: return false;
    default: return CanDequantize(type);
  }
}

}  // namespace

// Every bad scale shows in the numbers: a NaN or an infinity times anything is not finite.
std::optional<std::string> FindNonFinite(const StoredTensor& tensor) {
  if (!HoldsFloats(tensor.type)) return std::nullopt;
  constexpr std::int64_t kChunk = 4096;  // a multiple of every block
  std::array<float, kChunk> values;
  const TensorTypeInfo& type = *FindTensorType(tensor.type);
  const std::int64_t elements = tensor.elements();
  std::int64_t first_bad_row = -1, last_bad_row = -1, bad_rows = 0;
  for (std::int64_t begin = 0; begin < elements; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, elements - begin);
    const std::byte* bytes = tensor.bytes.data() + begin / type.block_values * type.block_bytes;
    DequantizeRow(tensor.type, bytes, std::span(values).first(count));
    for (std::int64_t i = 0; i < count; ++i) {
      if (std::isfinite(values[i])) continue;
      const std::int64_t row = (begin + i) / tensor.columns();
      if (row == last_bad_row) continue;
      if (first_bad_row < 0) first_bad_row = row;
      last_bad_row = row;
      ++bad_rows;
    }
  }
  if (bad_rows == 0) return std::nullopt;
  return fmt::format("tensor '{}': NaN or infinite numbers in {} of {} rows, first in row {}",
                     Printable(tensor.name), bad_rows, tensor.rows(), first_bad_row);
}

}  // namespace foveate
