// Block layouts from the GGUF format's description (ggml: docs/gguf.md and the block structures).
// The numbers themselves are defined in format/dequantize.cc; here each type only says where its
// codes and scales are.
#include "kernels/packed_blocks.h"

#include <bit>
#include <cstring>

namespace foveate {
namespace {

using Bytes = const std::uint8_t*;

constexpr std::int8_t kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
constexpr std::int8_t kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

template <typename T>
T Load(Bytes bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

std::uint32_t SignedByte(int value) { return static_cast<std::uint8_t>(value); }
std::uint16_t Negated(std::uint16_t half) { return half ^ 0x8000u; }

// 16 bytes that hold columns 0..15 in their low and 16..31 in their high halves.
void ReadNibbles(Bytes q, StoredBlock& block) {
  for (int j = 0; j < 16; ++j) {
    block.codes[j] = q[j] & 15;
    block.codes[j + 16] = q[j] >> 4;
  }
}

// One more bit, the fifth, for each column.
void AddFifthBits(std::uint32_t bits, StoredBlock& block) {
  for (int j = 0; j < 32; ++j) block.codes[j] |= ((bits >> j) & 1u) << 4;
}

// Q4_0, IQ4_NL: f16 scale, nibbles.
void ReadScaleNibbles(Bytes bytes, int, StoredBlock& block) {
  block.scales[0] = Load<std::uint16_t>(bytes);
  ReadNibbles(bytes + 2, block);
}

void ReadQ4_1(Bytes bytes, int, StoredBlock& block) {
  block.scales[0] = Load<std::uint16_t>(bytes);
  block.minima[0] = Load<std::uint16_t>(bytes + 2);
  ReadNibbles(bytes + 4, block);
}

void ReadQ5_0(Bytes bytes, int, StoredBlock& block) {
  block.scales[0] = Load<std::uint16_t>(bytes);
  ReadNibbles(bytes + 6, block);
  AddFifthBits(Load<std::uint32_t>(bytes + 2), block);
}

void ReadQ5_1(Bytes bytes, int, StoredBlock& block) {
  block.scales[0] = Load<std::uint16_t>(bytes);
  block.minima[0] = Load<std::uint16_t>(bytes + 2);
  ReadNibbles(bytes + 8, block);
  AddFifthBits(Load<std::uint32_t>(bytes + 4), block);
}

void ReadQ8_0(Bytes bytes, int, StoredBlock& block) {
  block.scales[0] = Load<std::uint16_t>(bytes);
  std::memcpy(block.codes.data(), bytes + 2, 32);
}

void ReadMXFP4(Bytes bytes, int, StoredBlock& block) {
  const std::uint32_t e = bytes[0];  // scale 2^(e - 128): the two smallest are denormal
  block.scales[0] = e < 2 ? 0x00200000u << e : (e - 1) << 23;
  ReadNibbles(bytes + 1, block);
}

// Two bits per value, 128 values in 32 bytes: `part` counts 32 columns.
void ReadTwoBits(Bytes q, int part, StoredBlock& block) {
  q += 32 * (part / 4);
  for (int l = 0; l < 32; ++l) block.codes[l] = (q[l] >> (2 * (part % 4))) & 3;
}

void ReadQ2_K(Bytes bytes, int part, StoredBlock& block) {
  block.super_scale = Load<std::uint16_t>(bytes + 80);
  block.super_minimum = Negated(Load<std::uint16_t>(bytes + 82));
  for (int g = 0; g < 2; ++g) {
    block.scales[g] = bytes[2 * part + g] & 15;
    block.minima[g] = bytes[2 * part + g] >> 4;
  }
  ReadTwoBits(bytes + 16, part, block);
}

void ReadQ3_K(Bytes bytes, int part, StoredBlock& block) {
  block.super_scale = Load<std::uint16_t>(bytes + 108);
  Bytes packed = bytes + 96;
  for (int g = 0; g < 2; ++g) {
    const int i = 2 * part + g;
    const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
    const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
    block.scales[g] = SignedByte((low | high << 4) - 32);
  }
  ReadTwoBits(bytes + 32, part, block);
  for (int l = 0; l < 32; ++l) block.codes[l] |= ((bytes[l] >> part) & 1) << 2;
}

// The 6-bit scales and minima of Q4_K and Q5_K.
void ReadScalesQ4_K(Bytes bytes, int part, StoredBlock& block) {
  block.super_scale = Load<std::uint16_t>(bytes);
  block.super_minimum = Negated(Load<std::uint16_t>(bytes + 2));
  Bytes s = bytes + 4;
  if (part < 4) {
    block.scales[0] = s[part] & 63;
    block.minima[0] = s[part + 4] & 63;
  } else {
    block.scales[0] = (s[part + 4] & 15) | (s[part - 4] >> 6) << 4;
    block.minima[0] = (s[part + 4] >> 4) | (s[part] >> 6) << 4;
  }
}

// 64 columns in 32 bytes: the even part in the low, the odd one in the high halves.
void ReadNibbleHalf(Bytes q, bool high, StoredBlock& block) {
  for (int l = 0; l < 32; ++l) block.codes[l] = high ? q[l] >> 4 : q[l] & 15;
}

void ReadQ4_K(Bytes bytes, int part, StoredBlock& block) {
  ReadScalesQ4_K(bytes, part, block);
  ReadNibbleHalf(bytes + 16 + 32 * (part / 2), part % 2 == 1, block);
}

void ReadQ5_K(Bytes bytes, int part, StoredBlock& block) {
  ReadScalesQ4_K(bytes, part, block);
  ReadNibbleHalf(bytes + 48 + 32 * (part / 2), part % 2 == 1, block);
  for (int l = 0; l < 32; ++l) block.codes[l] |= ((bytes[16 + l] >> part) & 1) << 4;
}

void ReadQ6_K(Bytes bytes, int part, StoredBlock& block) {
  block.super_scale = Load<std::uint16_t>(bytes + 208);
  const int n = part / 4, k = part % 4;
  for (int g = 0; g < 2; ++g) block.scales[g] = bytes[192 + 2 * part + g];
  ReadNibbleHalf(bytes + 64 * n + 32 * (k % 2), k >= 2, block);
  Bytes high = bytes + 128 + 32 * n;
  for (int l = 0; l < 32; ++l) block.codes[l] |= ((high[l] >> (2 * k)) & 3) << 4;
}

void ReadIQ4_XS(Bytes bytes, int part, StoredBlock& block) {
  block.super_scale = Load<std::uint16_t>(bytes);
  const int low = (bytes[4 + part / 2] >> (4 * (part % 2))) & 15;
  const int high = (Load<std::uint16_t>(bytes + 2) >> (2 * part)) & 3;
  block.scales[0] = SignedByte((low | high << 4) - 32);
  ReadNibbles(bytes + 8 + 16 * part, block);
}

// Five ternary digits per byte; see DecodeTernary in format/dequantize.cc.
void ReadTQ1_0(Bytes bytes, int part, StoredBlock& block) {
  constexpr std::uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  block.scales[0] = Load<std::uint16_t>(bytes + 52);
  for (int l = 0; l < 32; ++l) {
    const int i = 32 * part + l;
    Bytes byte = bytes;
    int digit;
    if (i < 160) {  // 32 bytes of five digits
      byte += i % 32;
      digit = i / 32;
    } else if (i < 240) {  // 16 bytes of five
      byte += 32 + (i - 160) % 16;
      digit = (i - 160) / 16;
    } else {  // 4 bytes of four
      byte += 48 + (i - 240) % 4;
      digit = (i - 240) / 4;
    }
    // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): digit is at most 4.
    const auto shifted = static_cast<std::uint8_t>(*byte * kPowers[digit]);
    block.codes[l] = static_cast<std::uint8_t>(shifted * 3 >> 8);
  }
}

void ReadTQ2_0(Bytes bytes, int part, StoredBlock& block) {
  block.scales[0] = Load<std::uint16_t>(bytes + 64);
  ReadTwoBits(bytes, part, block);
}

using enum CodeKind;
using enum ScaleKind;

// {codes, scales, minima, offset, groups, table}
constexpr BlockFormat kQ4_0 = {{kU4, kHalf, false, 8, 1}, ReadScaleNibbles};
constexpr BlockFormat kQ4_1 = {{kU4, kHalf, true, 0, 1}, ReadQ4_1};
constexpr BlockFormat kQ5_0 = {{kU5, kHalf, false, 16, 1}, ReadQ5_0};
constexpr BlockFormat kQ5_1 = {{kU5, kHalf, true, 0, 1}, ReadQ5_1};
constexpr BlockFormat kQ8_0 = {{kS8, kHalf, false, 0, 1}, ReadQ8_0};
constexpr BlockFormat kQ2_K = {{kU4, kSuper, true, 0, 2}, ReadQ2_K};
constexpr BlockFormat kQ3_K = {{kU4, kSuper, false, 4, 2}, ReadQ3_K};
constexpr BlockFormat kQ4_K = {{kU4, kSuper, true, 0, 1}, ReadQ4_K};
constexpr BlockFormat kQ5_K = {{kU5, kSuper, true, 0, 1}, ReadQ5_K};
constexpr BlockFormat kQ6_K = {{kU6, kSuper, false, 32, 2}, ReadQ6_K};
constexpr BlockFormat kIQ4_NL = {{kTable4, kHalf, false, 0, 1, kNonLinear}, ReadScaleNibbles};
constexpr BlockFormat kIQ4_XS = {{kTable4, kSuper, false, 0, 1, kNonLinear}, ReadIQ4_XS};
constexpr BlockFormat kMXFP4 = {{kTable4, kFloat, false, 0, 1, kE2M1}, ReadMXFP4};
constexpr BlockFormat kTQ1_0 = {{kU4, kHalf, false, 1, 1}, ReadTQ1_0};
constexpr BlockFormat kTQ2_0 = {{kU4, kHalf, false, 1, 1}, ReadTQ2_0};

}  // namespace

const BlockFormat* FindBlockFormat(TensorType type) {
  switch (type) {
    case TensorType::kQ4_0: return &kQ4_0;
    case TensorType::kQ4_1: return &kQ4_1;
    case TensorType::kQ5_0: return &kQ5_0;
    case TensorType::kQ5_1: return &kQ5_1;
    case TensorType::kQ8_0: return &kQ8_0;
    case TensorType::kQ2_K: return &kQ2_K;
    case TensorType::kQ3_K: return &kQ3_K;
    case TensorType::kQ4_K: return &kQ4_K;
    case TensorType::kQ5_K: return &kQ5_K;
    case TensorType::kQ6_K: return &kQ6_K;
    case TensorType::kIQ4_NL: return &kIQ4_NL;
    case TensorType::kIQ4_XS: return &kIQ4_XS;
    case TensorType::kMXFP4: return &kMXFP4;
    case TensorType::kTQ1_0: return &kTQ1_0;
    case TensorType::kTQ2_0: return &kTQ2_0;
    default: return nullptr;
  }
}

}  // namespace foveate
