// Rounding of numbers to the stored types, as the reference implementation of GGUF does without an
// importance matrix: the reciprocal of the scale is taken in float32, before the scale itself is
// rounded to half precision.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/throw.h"
#include "format/quant.h"
// Must stay last: it changes how the code below is compiled.
#include "format/exact_float.h"

namespace foveate {
namespace {

constexpr std::int64_t kBlock = 32;  // of every type that can be quantised to

template <typename T>
void Store(T value, std::uint8_t* bytes) {
  std::memcpy(bytes, &value, sizeof(T));
}

float Reciprocal(float scale) { return scale != 0.0f ? 1.0f / scale : 0.0f; }

// Towards zero, into [0, top]; NaN becomes 0, so that no input reaches an undefined conversion.
int ToCode(float value, int top) {
  if (!(value > 0.0f)) return 0;
  return value < static_cast<float>(top) ? static_cast<int>(value) : top;
}

// The value of largest magnitude, with its sign; the first of equals.
float LargestMagnitude(const float* x) {
  float largest = 0.0f;
  for (int j = 0; j < kBlock; ++j) {
    if (std::abs(x[j]) > std::abs(largest)) largest = x[j];
  }
  return largest;
}

void EncodeQ8_0(const float* x, std::uint8_t* block) {
  const float d = std::abs(LargestMagnitude(x)) / 127.0f;
  const float inverse = Reciprocal(d);
  Store(ToHalf(d), block);
  for (int j = 0; j < kBlock; ++j) {
    const float rounded = std::round(x[j] * inverse);
    // max before min: a NaN becomes the lower bound.
    const float code = std::min(127.0f, std::max(-127.0f, rounded));
    block[2 + j] = static_cast<std::uint8_t>(static_cast<std::int8_t>(code));
  }
}

// Two codes per byte, and for five bits their top bits together in front.
void PackNibbles(const int* codes, std::uint8_t* q) {
  for (int j = 0; j < 16; ++j) {
    q[j] = static_cast<std::uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
  }
}

void PackFiveBits(const int* codes, std::uint8_t* bytes) {
  std::uint32_t high_bits = 0;
  for (int j = 0; j < kBlock; ++j) high_bits |= static_cast<std::uint32_t>(codes[j] >> 4) << j;
  Store(high_bits, bytes);
  PackNibbles(codes, bytes + 4);
}

// Q4_0 and Q5_0: codes 0 .. 2*half - 1 stand for -half .. half - 1 times the scale, which takes the
// sign that puts the largest magnitude at -half. Writes the scale; returns the end of it.
std::uint8_t* EncodeSymmetric(const float* x, int half, int* codes, std::uint8_t* block) {
  const float d = LargestMagnitude(x) / static_cast<float>(-half);
  const float inverse = Reciprocal(d);
  Store(ToHalf(d), block);
  const float offset = static_cast<float>(half) + 0.5f;
  for (int j = 0; j < kBlock; ++j) codes[j] = ToCode(x[j] * inverse + offset, 2 * half - 1);
  return block + 2;
}

// Q4_1 and Q5_1: codes 0 .. top span the block's minimum to its maximum. Writes scale and minimum.
std::uint8_t* EncodeRange(const float* x, int top, int* codes, std::uint8_t* block) {
  const float minimum = *std::min_element(x, x + kBlock);
  const float maximum = *std::max_element(x, x + kBlock);
  const float d = (maximum - minimum) / static_cast<float>(top);
  const float inverse = Reciprocal(d);
  Store(ToHalf(d), block);
  Store(ToHalf(minimum), block + 2);
  for (int j = 0; j < kBlock; ++j) codes[j] = ToCode((x[j] - minimum) * inverse + 0.5f, top);
  return block + 4;
}

void EncodeQ4_0(const float* x, std::uint8_t* block) {
  int codes[kBlock];
  PackNibbles(codes, EncodeSymmetric(x, 8, codes, block));
}

void EncodeQ4_1(const float* x, std::uint8_t* block) {
  int codes[kBlock];
  PackNibbles(codes, EncodeRange(x, 15, codes, block));
}

void EncodeQ5_0(const float* x, std::uint8_t* block) {
  int codes[kBlock];
  PackFiveBits(codes, EncodeSymmetric(x, 16, codes, block));
}

void EncodeQ5_1(const float* x, std::uint8_t* block) {
  int codes[kBlock];
  PackFiveBits(codes, EncodeRange(x, 31, codes, block));
}

void QuantizeBlocks(TensorType type, std::span<const float> values, std::uint8_t* bytes,
                    void (*encode)(const float*, std::uint8_t*)) {
  const auto count = static_cast<std::int64_t>(values.size());
  if (count % kBlock != 0) {
    Throw(ErrorCode::kInvalidArgument, "{} values do not fill {} blocks of {}", count,
          TensorTypeName(type), kBlock);
  }
  const std::int64_t block_bytes = FindTensorType(type)->block_bytes;
  for (std::int64_t i = 0; i < count; i += kBlock, bytes += block_bytes) {
    encode(values.data() + i, bytes);
  }
}

template <typename Round>
void QuantizePlain(std::span<const float> values, std::uint8_t* bytes, Round round) {
  for (const float value : values) {
    const auto rounded = round(value);
    Store(rounded, bytes);
    bytes += sizeof(rounded);
  }
}

}  // namespace

void QuantizeRow(TensorType type, std::span<const float> values, std::byte* bytes) {
  auto* out = reinterpret_cast<std::uint8_t*>(bytes);
  switch (type) {
    case TensorType::kF32: return QuantizePlain(values, out, [](float value) { return value; });
    case TensorType::kF16: return QuantizePlain(values, out, ToHalf);
    case TensorType::kBF16: return QuantizePlain(values, out, ToBFloat16);
    case TensorType::kQ8_0: return QuantizeBlocks(type, values, out, EncodeQ8_0);
    case TensorType::kQ4_0: return QuantizeBlocks(type, values, out, EncodeQ4_0);
    case TensorType::kQ4_1: return QuantizeBlocks(type, values, out, EncodeQ4_1);
    case TensorType::kQ5_0: return QuantizeBlocks(type, values, out, EncodeQ5_0);
    case TensorType::kQ5_1: return QuantizeBlocks(type, values, out, EncodeQ5_1);
    default:
      Throw(ErrorCode::kUnsupported,
            "cannot quantise to {} (possible: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1)",
            TensorTypeName(type));
  }
}

}  // namespace foveate
