// Reading of stored numbers. One function per block type, written like its definition in the GGUF
// format's description (ggml: docs/gguf.md and the block structures): first the scale of a
// sub-block, then the product with each small integer, then the offset.
#include <array>
#include <bit>
#include <cstring>

#include "base/half.h"
#include "base/throw.h"
#include "format/quant.h"
// Must stay last: it changes how the code below is compiled.
#include "format/exact_float.h"

namespace foveate {
namespace {

using Block = const std::uint8_t*;  // the bytes of one block, not aligned

// The 4-bit codes of IQ4_NL and IQ4_XS, and the E2M1 numbers of MXFP4, doubled.
constexpr std::array<float, 16> kNonLinear = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};
constexpr std::array<float, 16> kE2M1 = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

template <typename T>
T Load(Block bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

float HalfAt(Block bytes) { return ToFloat(Half{Load<std::uint16_t>(bytes)}); }

int Low(std::uint8_t byte) { return byte & 15; }
int High(std::uint8_t byte) { return byte >> 4; }
int Signed(std::uint8_t byte) { return static_cast<std::int8_t>(byte); }

void DecodeQ4_0(Block block, float* x) {
  const float d = HalfAt(block);
  Block q = block + 2;
  for (int j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>(Low(q[j]) - 8);
    x[j + 16] = d * static_cast<float>(High(q[j]) - 8);
  }
}

void DecodeQ4_1(Block block, float* x) {
  const float d = HalfAt(block);
  const float m = HalfAt(block + 2);
  Block q = block + 4;
  for (int j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>(Low(q[j])) + m;
    x[j + 16] = d * static_cast<float>(High(q[j])) + m;
  }
}

// The 5-bit numbers of Q5_0 and Q5_1: a nibble and, in `high_bits`, one bit for each value.
int FiveBits(std::uint32_t high_bits, int index, int nibble) {
  return nibble | static_cast<int>((high_bits >> index) & 1u) << 4;
}

void DecodeQ5_0(Block block, float* x) {
  const float d = HalfAt(block);
  const auto high_bits = Load<std::uint32_t>(block + 2);
  Block q = block + 6;
  for (int j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>(FiveBits(high_bits, j, Low(q[j])) - 16);
    x[j + 16] = d * static_cast<float>(FiveBits(high_bits, j + 16, High(q[j])) - 16);
  }
}

void DecodeQ5_1(Block block, float* x) {
  const float d = HalfAt(block);
  const float m = HalfAt(block + 2);
  const auto high_bits = Load<std::uint32_t>(block + 4);
  Block q = block + 8;
  for (int j = 0; j < 16; ++j) {
    x[j] = d * static_cast<float>(FiveBits(high_bits, j, Low(q[j]))) + m;
    x[j + 16] = d * static_cast<float>(FiveBits(high_bits, j + 16, High(q[j]))) + m;
  }
}

void DecodeQ8_0(Block block, float* x) {
  const float d = HalfAt(block);
  Block q = block + 2;
  for (int j = 0; j < 32; ++j) x[j] = d * static_cast<float>(Signed(q[j]));
}

// Q2_K and Q3_K keep the value 128n + 32k + 16g + l in bits 2k, 2k+1 of byte 32n + 16g + l, and
// have one scale for the 16 values of (n, k, g).
void DecodeQ2_K(Block block, float* x) {
  Block scales = block;
  Block q = block + 16;
  const float d = HalfAt(block + 80);
  const float dmin = HalfAt(block + 82);
  for (int i = 0; i < 16; ++i) {
    const int n = i / 8, k = i / 2 % 4, g = i % 2;
    const float scale = d * static_cast<float>(Low(scales[i]));
    const float minimum = dmin * static_cast<float>(High(scales[i]));
    for (int l = 0; l < 16; ++l) {
      const int code = (q[32 * n + 16 * g + l] >> (2 * k)) & 3;
      *x++ = scale * static_cast<float>(code) - minimum;
    }
  }
}

int ScaleQ3_K(Block packed, int i) {
  const int low = i < 8 ? Low(packed[i]) : High(packed[i - 8]);
  const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
  return (low | high << 4) - 32;
}

void DecodeQ3_K(Block block, float* x) {
  Block high_mask = block;
  Block q = block + 32;
  Block scales = block + 96;
  const float d = HalfAt(block + 108);
  for (int i = 0; i < 16; ++i) {
    const int n = i / 8, k = i / 2 % 4, g = i % 2;
    const float scale = d * static_cast<float>(ScaleQ3_K(scales, i));
    for (int l = 0; l < 16; ++l) {
      const int code = (q[32 * n + 16 * g + l] >> (2 * k)) & 3;
      const bool high = (high_mask[16 * g + l] >> (4 * n + k)) & 1;
      *x++ = scale * static_cast<float>(code - (high ? 0 : 4));
    }
  }
}

struct ScaleAndMin {
  float scale, minimum;
};

// The 6-bit scale and minimum of sub-block i of Q4_K and Q5_K, times the block's own factors.
ScaleAndMin UnpackQ4_K(Block block, int i) {
  Block s = block + 4;
  int scale = s[i] & 63, minimum = s[i + 4] & 63;
  if (i >= 4) {
    scale = Low(s[i + 4]) | (s[i - 4] >> 6) << 4;
    minimum = High(s[i + 4]) | (s[i] >> 6) << 4;
  }
  return {HalfAt(block) * static_cast<float>(scale),
          HalfAt(block + 2) * static_cast<float>(minimum)};
}

void DecodeQ4_K(Block block, float* x) {
  Block q = block + 16;
  for (int i = 0; i < 8; ++i) {
    const auto [scale, minimum] = UnpackQ4_K(block, i);
    for (int l = 0; l < 32; ++l) {
      const std::uint8_t byte = q[32 * (i / 2) + l];
      const int code = i % 2 == 0 ? Low(byte) : High(byte);
      *x++ = scale * static_cast<float>(code) - minimum;
    }
  }
}

void DecodeQ5_K(Block block, float* x) {
  Block high_bits = block + 16;
  Block q = block + 48;
  for (int i = 0; i < 8; ++i) {
    const auto [scale, minimum] = UnpackQ4_K(block, i);
    for (int l = 0; l < 32; ++l) {
      const std::uint8_t byte = q[32 * (i / 2) + l];
      const int code = (i % 2 == 0 ? Low(byte) : High(byte)) | ((high_bits[l] >> i) & 1) << 4;
      *x++ = scale * static_cast<float>(code) - minimum;
    }
  }
}

void DecodeQ6_K(Block block, float* x) {
  Block low_bits = block;
  Block high_bits = block + 128;
  Block scales = block + 192;
  const float d = HalfAt(block + 208);
  for (int i = 0; i < 16; ++i) {
    const int n = i / 8, k = i / 2 % 4, g = i % 2;
    const float scale = d * static_cast<float>(Signed(scales[i]));
    for (int l = 16 * g; l < 16 * g + 16; ++l) {
      const std::uint8_t byte = low_bits[64 * n + 32 * (k % 2) + l];
      const int low = k < 2 ? Low(byte) : High(byte);
      const int high = (high_bits[32 * n + l] >> (2 * k)) & 3;
      *x++ = scale * static_cast<float>((low | high << 4) - 32);
    }
  }
}

// 32 values as 16 bytes of codes: low nibbles first, then high nibbles.
void DecodeTable(float scale, Block q, const std::array<float, 16>& table, float* x) {
  for (int j = 0; j < 16; ++j) {
    x[j] = scale * table[Low(q[j])];
    x[j + 16] = scale * table[High(q[j])];
  }
}

void DecodeIQ4_NL(Block block, float* x) { DecodeTable(HalfAt(block), block + 2, kNonLinear, x); }

void DecodeIQ4_XS(Block block, float* x) {
  const float d = HalfAt(block);
  const auto scales_high = Load<std::uint16_t>(block + 2);
  Block scales_low = block + 4;
  Block q = block + 8;
  for (int b = 0; b < 8; ++b) {
    const int low = (scales_low[b / 2] >> (4 * (b % 2))) & 15;
    const int high = (scales_high >> (2 * b)) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    DecodeTable(scale, q + 16 * b, kNonLinear, x + 32 * b);
  }
}

void DecodeMXFP4(Block block, float* x) {
  const std::uint32_t e = block[0];
  // 2^(e - 128): the two smallest are denormal.
  const float scale = std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  DecodeTable(scale, block + 1, kE2M1, x);
}

// TQ1_0 packs five ternary digits into a byte as the fraction digits/243, rounded up, of 256: times
// 3^n (modulo 256) brings digit n to the front, and times 3 pushes it out as the carry.
float* DecodeTernary(float d, std::span<const std::uint8_t> q, int digits, float* x) {
  std::uint8_t power = 1;
  for (int n = 0; n < digits; ++n, power *= 3) {
    for (const std::uint8_t byte : q) {
      const auto shifted = static_cast<std::uint8_t>(byte * power);
      *x++ = d * static_cast<float>((shifted * 3 >> 8) - 1);
    }
  }
  return x;
}

void DecodeTQ1_0(Block block, float* x) {
  const float d = HalfAt(block + 52);
  x = DecodeTernary(d, {block, 32}, 5, x);
  x = DecodeTernary(d, {block + 32, 16}, 5, x);
  DecodeTernary(d, {block + 48, 4}, 4, x);
}

void DecodeTQ2_0(Block block, float* x) {
  const float d = HalfAt(block + 64);
  for (int half = 0; half < 2; ++half) {
    for (int shift = 0; shift < 8; shift += 2) {
      for (int l = 0; l < 32; ++l) {
        *x++ = d * static_cast<float>(((block[32 * half + l] >> shift) & 3) - 1);
      }
    }
  }
}

template <typename T>
float Widen(T value) {
  return static_cast<float>(value);
}
template <>
float Widen(Half value) {
  return ToFloat(value);
}
template <>
float Widen(BFloat16 value) {
  return ToFloat(value);
}

template <typename T>
void DecodePlain(Block bytes, std::span<float> values) {
  for (float& value : values) {
    value = Widen(Load<T>(bytes));
    bytes += sizeof(T);
  }
}

void DecodeBool(Block bytes, std::span<float> values) {
  for (float& value : values) value = *bytes++ != 0 ? 1.0f : 0.0f;
}

using PlainDecoder = void (*)(Block, std::span<float>);
using BlockDecoder = void (*)(Block, float*);

PlainDecoder FindPlainDecoder(TensorType type) {
  switch (type) {
    case TensorType::kF32: return DecodePlain<float>;
    case TensorType::kF16: return DecodePlain<Half>;
    case TensorType::kBF16: return DecodePlain<BFloat16>;
    case TensorType::kF64: return DecodePlain<double>;
    case TensorType::kI8: return DecodePlain<std::int8_t>;
    case TensorType::kI16: return DecodePlain<std::int16_t>;
    case TensorType::kI32: return DecodePlain<std::int32_t>;
    case TensorType::kI64: return DecodePlain<std::int64_t>;
    case TensorType::kU8: return DecodePlain<std::uint8_t>;
    case TensorType::kU16: return DecodePlain<std::uint16_t>;
    case TensorType::kU32: return DecodePlain<std::uint32_t>;
    case TensorType::kU64: return DecodePlain<std::uint64_t>;
    case TensorType::kBool: return DecodeBool;
    default: return nullptr;
  }
}

BlockDecoder FindBlockDecoder(TensorType type) {
  switch (type) {
    case TensorType::kQ4_0: return DecodeQ4_0;
    case TensorType::kQ4_1: return DecodeQ4_1;
    case TensorType::kQ5_0: return DecodeQ5_0;
    case TensorType::kQ5_1: return DecodeQ5_1;
    case TensorType::kQ8_0: return DecodeQ8_0;
    case TensorType::kQ2_K: return DecodeQ2_K;
    case TensorType::kQ3_K: return DecodeQ3_K;
    case TensorType::kQ4_K: return DecodeQ4_K;
    case TensorType::kQ5_K: return DecodeQ5_K;
    case TensorType::kQ6_K: return DecodeQ6_K;
    case TensorType::kIQ4_NL: return DecodeIQ4_NL;
    case TensorType::kIQ4_XS: return DecodeIQ4_XS;
    case TensorType::kMXFP4: return DecodeMXFP4;
    case TensorType::kTQ1_0: return DecodeTQ1_0;
    case TensorType::kTQ2_0: return DecodeTQ2_0;
    default: return nullptr;
  }
}

}  // namespace

bool CanDequantize(TensorType type) {
  return FindPlainDecoder(type) != nullptr || FindBlockDecoder(type) != nullptr;
}

void DequantizeRow(TensorType type, const std::byte* bytes, std::span<float> values) {
  Block block = reinterpret_cast<Block>(bytes);
  if (const PlainDecoder decode = FindPlainDecoder(type)) return decode(block, values);
  const BlockDecoder decode = FindBlockDecoder(type);
  if (decode == nullptr) {
    Throw(ErrorCode::kUnsupported, "numbers of type {} cannot be read", TensorTypeName(type));
  }
  const TensorTypeInfo& info = *FindTensorType(type);
  const auto count = static_cast<std::int64_t>(values.size());
  if (count % info.block_values != 0) {
    Throw(ErrorCode::kInvalidArgument, "{} values of type {} do not fill blocks of {}", count,
          info.name, info.block_values);
  }
  for (std::int64_t i = 0; i < count; i += info.block_values) {
    decode(block, values.data() + i);
    block += info.block_bytes;
  }
}

}  // namespace foveate
