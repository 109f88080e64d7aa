#include "format/tensor_type.h"

#include <algorithm>
#include <array>

namespace foveate {
namespace {

constexpr auto kTypes = std::to_array<TensorTypeInfo>({
    {TensorType::kF32, "F32", 1, 4},
    {TensorType::kF16, "F16", 1, 2},
    {TensorType::kQ4_0, "Q4_0", 32, 18},
    {TensorType::kQ4_1, "Q4_1", 32, 20},
    {TensorType::kQ5_0, "Q5_0", 32, 22},
    {TensorType::kQ5_1, "Q5_1", 32, 24},
    {TensorType::kQ8_0, "Q8_0", 32, 34},
    {TensorType::kQ8_1, "Q8_1", 32, 36},
    {TensorType::kQ2_K, "Q2_K", 256, 84},
    {TensorType::kQ3_K, "Q3_K", 256, 110},
    {TensorType::kQ4_K, "Q4_K", 256, 144},
    {TensorType::kQ5_K, "Q5_K", 256, 176},
    {TensorType::kQ6_K, "Q6_K", 256, 210},
    {TensorType::kQ8_K, "Q8_K", 256, 292},
    {TensorType::kIQ4_NL, "IQ4_NL", 32, 18},
    {TensorType::kIQ4_XS, "IQ4_XS", 256, 136},
    {TensorType::kI8, "I8", 1, 1},
    {TensorType::kI16, "I16", 1, 2},
    {TensorType::kI32, "I32", 1, 4},
    {TensorType::kI64, "I64", 1, 8},
    {TensorType::kF64, "F64", 1, 8},
    {TensorType::kBF16, "BF16", 1, 2},
    {TensorType::kTQ1_0, "TQ1_0", 256, 54},
    {TensorType::kTQ2_0, "TQ2_0", 256, 66},
    {TensorType::kMXFP4, "MXFP4", 32, 17},
    {TensorType::kBool, "BOOL", 1, 1},
    {TensorType::kU8, "U8", 1, 1},
    {TensorType::kU16, "U16", 1, 2},
    {TensorType::kU32, "U32", 1, 4},
    {TensorType::kU64, "U64", 1, 8},
    {TensorType::kC64, "C64", 1, 8},
    {TensorType::kF8_E4M3, "F8_E4M3", 1, 1},
    {TensorType::kF8_E5M2, "F8_E5M2", 1, 1},
    {TensorType::kF8_E8M0, "F8_E8M0", 1, 1},
    {TensorType::kF8_E4M3FNUZ, "F8_E4M3FNUZ", 1, 1},
    {TensorType::kF8_E5M2FNUZ, "F8_E5M2FNUZ", 1, 1},
    {TensorType::kF6_E2M3, "F6_E2M3", 4, 3},
    {TensorType::kF6_E3M2, "F6_E3M2", 4, 3},
    {TensorType::kF4, "F4", 2, 1},
});

static_assert(std::ranges::is_sorted(kTypes, {}, &TensorTypeInfo::type));

}  // namespace

const TensorTypeInfo* FindTensorType(TensorType type) {
  const auto found = std::ranges::lower_bound(kTypes, type, {}, &TensorTypeInfo::type);
  return found != kTypes.end() && found->type == type ? &*found : nullptr;
}

std::string_view TensorTypeName(TensorType type) {
  const TensorTypeInfo* info = FindTensorType(type);
  return info == nullptr ? "unknown" : info->name;
}

}  // namespace foveate
