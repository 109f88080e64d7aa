#include "format/quant.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "base/half.h"
#include "format/safetensors.h"
#include "tests/format/test_files.h"

namespace foveate {
namespace {

constexpr TensorType kGoldenTypes[] = {
    TensorType::kF16,    TensorType::kBF16,   TensorType::kQ4_0,  TensorType::kQ4_1,
    TensorType::kQ5_0,   TensorType::kQ5_1,   TensorType::kQ8_0,  TensorType::kQ2_K,
    TensorType::kQ3_K,   TensorType::kQ4_K,   TensorType::kQ5_K,  TensorType::kQ6_K,
    TensorType::kIQ4_NL, TensorType::kIQ4_XS, TensorType::kMXFP4, TensorType::kTQ2_0,
};

std::vector<float> Values(const StoredTensor& tensor) {
  std::vector<float> values(tensor.elements());
  DequantizeRow(tensor.type, tensor.bytes.data(), values);
  return values;
}

std::vector<float> Dequantize(TensorType type, const std::vector<std::byte>& bytes,
                              std::size_t count) {
  std::vector<float> values(count);
  DequantizeRow(type, bytes.data(), values);
  return values;
}

std::vector<std::byte> Quantize(TensorType type, const std::vector<float>& values) {
  const TensorTypeInfo& info = *FindTensorType(type);
  std::vector<std::byte> bytes(values.size() / info.block_values * info.block_bytes);
  QuantizeRow(type, values, bytes.data());
  return bytes;
}

class QuantGolden : public testing::TestWithParam<TensorType> {
 protected:
  SafetensorsFile golden_ = SafetensorsFile::Open(DataPath("gguf_quants.safetensors"));
  std::string name_ = std::string(TensorTypeName(GetParam()));

  const StoredTensor& Golden(const std::string& name) {
    const StoredTensor* tensor = golden_.FindTensor(name);
    if (tensor == nullptr) throw std::runtime_error("no golden tensor " + name);
    return *tensor;
  }
};

TEST_P(QuantGolden, DequantizesBitExactly) {
  const StoredTensor& raw = Golden(name_ + ".raw");
  const std::vector<float> expected = Values(Golden(name_ + ".f32"));
  ASSERT_EQ(expected.size(), 1024u);
  for (int row = 0; row < 2; ++row) {
    std::vector<float> values(512);
    DequantizeRow(GetParam(), raw.bytes.data() + row * raw.columns(), values);
    for (int i = 0; i < 512; ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]),
                std::bit_cast<std::uint32_t>(expected[row * 512 + i]))
          << "row " << row << " value " << i << ": " << values[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantGolden, testing::ValuesIn(kGoldenTypes),
                         [](const auto& info) { return std::string(TensorTypeName(info.param)); });

class QuantizeGolden : public QuantGolden {};

TEST_P(QuantizeGolden, QuantizesByteExactly) {
  const StoredTensor& expected = Golden("quantize." + name_);
  const std::vector<std::byte> bytes = Quantize(GetParam(), Values(Golden("quantize.input")));
  ASSERT_EQ(bytes.size(), expected.bytes.size());
  EXPECT_EQ(std::memcmp(bytes.data(), expected.bytes.data(), bytes.size()), 0);
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizeGolden,
                         testing::Values(TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_1,
                                         TensorType::kQ5_0, TensorType::kQ5_1),
                         [](const auto& info) { return std::string(TensorTypeName(info.param)); });

// Ternary digits packed as the format's writer does: digits d0..d4 of a byte are
// ceil((((d0*3 + d1)*3 + ...) * 256) / 243).
TEST(Quant, TernaryPackedInFives) {
  std::vector<int> digits(256);
  for (int i = 0; i < 256; ++i) digits[i] = (i * i + i / 7) % 3;
  std::vector<std::byte> block(54);
  const auto pack = [&](int byte, int first, int stride, int count) {
    int number = 0;
    for (int n = 0; n < 5; ++n) number = number * 3 + (n < count ? digits[first + n * stride] : 0);
    block[byte] = static_cast<std::byte>((number * 256 + 242) / 243);
  };
  for (int m = 0; m < 32; ++m) pack(m, m, 32, 5);
  for (int m = 0; m < 16; ++m) pack(32 + m, 160 + m, 16, 5);
  for (int m = 0; m < 4; ++m) pack(48 + m, 240 + m, 4, 4);
  const Half scale = ToHalf(-0.75f);
  std::memcpy(&block[52], &scale, 2);
  const std::vector<float> values = Dequantize(TensorType::kTQ1_0, block, 256);
  for (int i = 0; i < 256; ++i) {
    ASSERT_EQ(values[i], -0.75f * static_cast<float>(digits[i] - 1)) << i;
  }
}

TEST(Quant, MicroscalingExponentsReachBothEnds) {
  std::vector<std::byte> block(17, std::byte{0x21});  // codes 1 and 2: half and one times the scale
  block[0] = std::byte{0};
  EXPECT_EQ(Dequantize(TensorType::kMXFP4, block, 32)[0], 0x1p-128f);
  EXPECT_EQ(Dequantize(TensorType::kMXFP4, block, 32)[16], 0x1p-127f);
  block[0] = std::byte{1};
  EXPECT_EQ(Dequantize(TensorType::kMXFP4, block, 32)[0], 0x1p-127f);
  block[0] = std::byte{255};
  EXPECT_EQ(Dequantize(TensorType::kMXFP4, block, 32)[0], 0x1p127f);
}

template <typename T>
std::vector<std::byte> Pack(const std::vector<T>& values, std::size_t misalign) {
  std::vector<std::byte> bytes(misalign + values.size() * sizeof(T));
  std::memcpy(bytes.data() + misalign, values.data(), values.size() * sizeof(T));
  return bytes;
}

template <typename T>
void ExpectPlain(TensorType type, std::vector<T> stored, const std::vector<float>& expected) {
  const auto bytes = Pack(stored, 1);  // at an odd address
  std::vector<float> values(expected.size());
  DequantizeRow(type, bytes.data() + 1, values);
  EXPECT_EQ(values, expected) << TensorTypeName(type);
}

TEST(Quant, PlainTypesAtOddAddresses) {
  ExpectPlain<float>(TensorType::kF32, {1.5f, -0.0f, 1e30f}, {1.5f, -0.0f, 1e30f});
  ExpectPlain<double>(TensorType::kF64, {0.1, -3.0}, {0.1f, -3.0f});
  ExpectPlain<std::int8_t>(TensorType::kI8, {-128, 127}, {-128, 127});
  ExpectPlain<std::int16_t>(TensorType::kI16, {-32768, 32767}, {-32768, 32767});
  ExpectPlain<std::int32_t>(TensorType::kI32, {INT32_MIN, 7}, {-0x1p31f, 7});
  ExpectPlain<std::int64_t>(TensorType::kI64, {INT64_MIN, -5}, {-0x1p63f, -5});
  ExpectPlain<std::uint8_t>(TensorType::kU8, {0, 255}, {0, 255});
  ExpectPlain<std::uint16_t>(TensorType::kU16, {65535}, {65535});
  ExpectPlain<std::uint32_t>(TensorType::kU32, {UINT32_MAX}, {0x1p32f});
  ExpectPlain<std::uint64_t>(TensorType::kU64, {UINT64_MAX}, {0x1p64f});
  ExpectPlain<std::uint8_t>(TensorType::kBool, {0, 1, 2}, {0, 1, 1});
}

TEST(Quant, HalfTypesRoundToNearestEven) {
  const std::vector<float> values = {1.0f, 1.0f + 0x1p-11f, 1.0f + 0x1.8p-10f, 65520.0f, 1e-8f};
  const std::vector<float> halves = {1.0f, 1.0f, 1.0f + 0x1p-9f, INFINITY, 0.0f};
  EXPECT_EQ(Dequantize(TensorType::kF16, Quantize(TensorType::kF16, values), 5), halves);
  const std::vector<float> brains = {1.0f, 1.0f + 0x1p-8f, 1.0f + 0x1.8p-7f};
  const std::vector<float> rounded = {1.0f, 1.0f, 1.0f + 0x1p-6f};
  EXPECT_EQ(Dequantize(TensorType::kBF16, Quantize(TensorType::kBF16, brains), 3), rounded);
  EXPECT_EQ(Dequantize(TensorType::kF32, Quantize(TensorType::kF32, values), 5), values);
}

// The largest magnitude of a block is met exactly up to half-precision of the scale, and every
// value to half a step.
TEST(Quant, RoundTripStaysWithinHalfAStep) {
  std::vector<float> values(64);
  for (int i = 0; i < 64; ++i)
    values[i] = std::sin(static_cast<float>(i * i)) * (i < 32 ? 1 : 1e-3f);
  const std::pair<TensorType, float> kSteps[] = {{TensorType::kQ8_0, 1 / 127.0f},
                                                 {TensorType::kQ4_0, 1 / 8.0f},
                                                 {TensorType::kQ4_1, 2 / 15.0f},
                                                 {TensorType::kQ5_0, 1 / 16.0f},
                                                 {TensorType::kQ5_1, 2 / 31.0f}};
  for (const auto& [type, step] : kSteps) {
    const std::vector<float> back = Dequantize(type, Quantize(type, values), 64);
    for (int i = 0; i < 64; ++i) {
      const float scale = i < 32 ? 1 : 1e-3f;
      // A symmetric code lacks the positive end: there the error is up to a whole step.
      EXPECT_NEAR(back[i], values[i], 1.01f * step * scale) << TensorTypeName(type) << " " << i;
    }
  }
}

TEST(Quant, ZerosStayZeros) {
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_1,
                                TensorType::kQ5_0, TensorType::kQ5_1}) {
    const std::vector<float> zeros(32);
    EXPECT_EQ(Dequantize(type, Quantize(type, zeros), 32), zeros) << TensorTypeName(type);
  }
}

TEST(Quant, NonFiniteAndTinyInputIsDefined) {
  const float inputs[] = {
      NAN, INFINITY, -INFINITY, 3e38f, -3e38f, std::numeric_limits<float>::denorm_min(), 1e-39f};
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_1,
                                TensorType::kQ5_0, TensorType::kQ5_1}) {
    for (const float input : inputs) {
      std::vector<float> values(32, 0.5f);
      values[7] = input;
      values[8] = -input;
      EXPECT_EQ(Quantize(type, values).size(),
                static_cast<std::size_t>(FindTensorType(type)->block_bytes));
    }
  }
}

TEST(Quant, RefusesWhatItCannotDo) {
  std::vector<float> values(31);
  std::vector<std::byte> bytes(1024);
  ExpectError(
      ErrorCode::kInvalidArgument, [&] { DequantizeRow(TensorType::kQ4_0, bytes.data(), values); },
      "31", "Q4_0");
  ExpectError(
      ErrorCode::kInvalidArgument, [&] { QuantizeRow(TensorType::kQ8_0, values, bytes.data()); },
      "31", "Q8_0");
  values.resize(256);
  for (const TensorType type : {TensorType::kQ8_1, TensorType::kQ8_K, TensorType::kC64,
                                TensorType::kF8_E4M3, TensorType::kF4, TensorType(99)}) {
    EXPECT_FALSE(CanDequantize(type));
    ExpectError(ErrorCode::kUnsupported, [&] { DequantizeRow(type, bytes.data(), values); });
  }
  ExpectError(
      ErrorCode::kUnsupported, [&] { QuantizeRow(TensorType::kQ4_K, values, bytes.data()); },
      "Q4_K");
}

TEST(TensorTypes, TableIsConsistent) {
  EXPECT_EQ(FindTensorType(TensorType(4)), nullptr);
  EXPECT_EQ(FindTensorType(TensorType(5000)), nullptr);
  EXPECT_EQ(TensorTypeName(TensorType(99)), "unknown");
  EXPECT_EQ(TensorTypeName(TensorType::kIQ4_XS), "IQ4_XS");
  EXPECT_EQ(FindTensorType(TensorType::kQ6_K)->block_bytes, 210);
  EXPECT_EQ(FindTensorType(TensorType::kF6_E2M3)->block_bytes, 3);
}

}  // namespace
}  // namespace foveate
