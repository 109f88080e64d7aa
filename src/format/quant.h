// Scalar conversion of stored numbers to and from float: the reference for every kernel, and exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "format/tensor_type.h"

namespace foveate {

// Whether DequantizeRow knows `type`.
bool CanDequantize(TensorType type);

// Widens `values.size()` numbers (a multiple of the block size) stored from `bytes` on. Products
// are formed in float32, scale first, without contraction: bit-exact with the format's definition.
// Bool gives 0 or 1; wide integers and F64 round. Throws Error: kUnsupported when
// !CanDequantize(type), kInvalidArgument when the values do not fill whole blocks.
void DequantizeRow(TensorType type, const std::byte* bytes, std::span<float> values);

// Rounds numbers to F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 or Q5_1 with the reference rounding (no
// importance matrix). NaN and infinities give some code, never undefined behaviour. Throws Error as
// DequantizeRow does.
void QuantizeRow(TensorType type, std::span<const float> values, std::byte* bytes);

}  // namespace foveate
