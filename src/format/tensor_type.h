// The storage types of tensors in model files, with GGUF's numbering. Quantised types store blocks
// of `block_values` numbers in `block_bytes` bytes along the innermost axis.
#pragma once

#include <cstdint>
#include <string_view>

namespace foveate {

enum class TensorType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  // Types of safetensors files that GGUF has no number for.
  kBool = 1000,
  kU8,
  kU16,
  kU32,
  kU64,
  kC64,
  kF8_E4M3,
  kF8_E5M2,
  kF8_E8M0,
  kF8_E4M3FNUZ,
  kF8_E5M2FNUZ,
  kF6_E2M3,
  kF6_E3M2,
  kF4,
};

struct TensorTypeInfo {
  TensorType type;
  std::string_view name;      // "Q4_K", "F32", ...
  std::int64_t block_values;  // numbers per block; 1 for plain types
  std::int64_t block_bytes;   // bytes per block
};

// The description of `type`, or null for a value that names none.
const TensorTypeInfo* FindTensorType(TensorType type);
std::string_view TensorTypeName(TensorType type);  // "type 99" never: unknown gives "unknown"

}  // namespace foveate
