#include "kernels/attention_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/half.h"
#include "format/quant.h"

namespace foveate {
namespace {

class AttentionKernelsTest : public ::testing::TestWithParam<Isa> {
 protected:
  const AttentionKernels& kernels_ = AttentionKernelsFor(GetParam());
};

std::vector<float> RandomRow(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, std::exp2(static_cast<float>(seed % 40) - 20.0f));
  std::vector<float> row(count);
  for (float& value : row) value = normal(random);
  return row;
}

template <typename T>
T At(const std::vector<std::byte>& memory, std::int64_t offset, std::int64_t index) {
  T value;
  std::memcpy(&value, memory.data() + offset + index * sizeof(T), sizeof(T));
  return value;
}

// Byte by byte what the scalar reference of the format makes of the row, in the page's order.
TEST_P(AttentionKernelsTest, Q8RowsAreThoseOfTheFormat) {
  const PageLayout layout{64, 96, KvType::kQ8_0, KvType::kQ8_0};
  std::vector<std::byte> keys(layout.key_bytes());
  std::vector<std::byte> values(layout.value_bytes());
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::vector<float> row = RandomRow(96, seed);
    if (seed % 3 == 0) {  // halves: -126.5 .. with a scale of exactly one
      for (std::int64_t i = 0; i < 96; ++i) row[i] = static_cast<float>(i) - 40.5f;
      row[0] = row[32] = row[64] = 127.0f;
    }
    if (seed % 7 == 0) std::fill(row.begin() + 32, row.begin() + 64, 0.0f);
    std::vector<std::byte> expected(3 * 34);
    QuantizeRow(TensorType::kQ8_0, row, expected.data());

    const std::int64_t column = seed % kPageKeys;
    kernels_.store_key(layout, keys.data(), column, row.data());
    kernels_.store_value(layout, values.data(), column, row.data());
    for (std::int64_t i = 0; i < 96; ++i) {
      const std::int64_t block = i / 32;
      const auto quant = At<std::int8_t>(expected, block * 34 + 2, i % 32);
      const auto scale = At<std::uint16_t>(expected, block * 34, 0);
      ASSERT_EQ(At<std::int8_t>(values, 0, column * 96 + i), quant) << seed << " " << i;
      ASSERT_EQ(At<std::uint16_t>(values, layout.value_scales(), column * 3 + block), scale);
      if (i >= 64) continue;
      ASSERT_EQ(At<std::int8_t>(keys, 0, i * 64 + column), quant) << seed << " " << i;
      ASSERT_EQ(At<std::uint16_t>(keys, layout.key_scales(), block * 64 + column), scale);
    }
  }
}

// The codes of the format, those of a row's second half in the upper nibbles.
TEST_P(AttentionKernelsTest, Q4RowsAreThoseOfTheFormat) {
  const PageLayout layout{64, 96, KvType::kQ4_0, KvType::kQ4_0};
  std::vector<std::byte> keys(layout.key_bytes());
  std::vector<std::byte> values(layout.value_bytes());
  for (unsigned seed = 0; seed < 200; ++seed) {
    const std::vector<float> row = RandomRow(96, seed);
    std::vector<std::byte> expected(3 * 18);
    QuantizeRow(TensorType::kQ4_0, row, expected.data());
    const auto code = [&](std::int64_t i) {
      const int both = At<std::uint8_t>(expected, i / 32 * 18 + 2, i % 16);
      return i % 32 < 16 ? both & 15 : both >> 4;
    };

    const std::int64_t column = seed % kPageKeys;
    kernels_.store_key(layout, keys.data(), column, row.data());
    kernels_.store_value(layout, values.data(), column, row.data());
    for (std::int64_t i = 0; i < 48; ++i) {
      ASSERT_EQ(At<std::uint8_t>(values, 0, column * 48 + i), code(i) | code(i + 48) << 4) << seed;
    }
    for (std::int64_t i = 0; i < 32; ++i) {
      ASSERT_EQ(At<std::uint8_t>(keys, 0, i * 64 + column), code(i) | code(i + 32) << 4) << seed;
    }
    for (std::int64_t block = 0; block < 3; ++block) {
      const auto scale = At<std::uint16_t>(expected, block * 18, 0);
      ASSERT_EQ(At<std::uint16_t>(values, layout.value_scales(), column * 3 + block), scale);
      if (block == 2) continue;
      ASSERT_EQ(At<std::uint16_t>(keys, layout.key_scales(), block * 64 + column), scale);
    }
  }
}

TEST_P(AttentionKernelsTest, HalfRowsAreRoundedToNearestEven) {
  const PageLayout layout{48, 48, KvType::kF16, KvType::kF16};
  std::vector<std::byte> keys(layout.key_bytes());
  std::vector<std::byte> values(layout.value_bytes());
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::vector<float> row = RandomRow(48, seed);
    row[3] = 1.0f + 0x1p-11f;  // half way between two halves
    row[4] = 70000.0f;
    kernels_.store_key(layout, keys.data(), seed % 64, row.data());
    kernels_.store_value(layout, values.data(), seed % 64, row.data());
    for (std::int64_t i = 0; i < 48; ++i) {
      ASSERT_EQ(At<std::uint16_t>(keys, 0, i * 64 + seed % 64), ToHalf(row[i]).bits);
      ASSERT_EQ(At<std::uint16_t>(values, 0, seed % 64 * 48 + i), ToHalf(row[i]).bits);
    }
  }
}

// Numbers that are not finite must not become plausible ones.
TEST_P(AttentionKernelsTest, CodesOfNanAndInfinityAreNan) {
  for (const KvType type : {KvType::kQ8_0, KvType::kQ4_0}) {
    const PageLayout layout{32, 64, type, type};
    std::vector<std::byte> values(layout.value_bytes());
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      std::vector<float> row(64, 1.0f);
      row[5] = bad;
      kernels_.store_value(layout, values.data(), 0, row.data());
      EXPECT_TRUE(std::isnan(ToFloat(At<Half>(values, layout.value_scales(), 0))));
      EXPECT_NEAR(
          ToFloat(At<Half>(values, layout.value_scales(), 1)) * (type == KvType::kQ8_0 ? 127 : -8),
          1.0f, 1e-3f);
    }
  }
}

struct States {
  explicit States(std::int64_t rows, std::int64_t width)
      : o(rows * width),
        m(RoundUp(rows, kPanel)),
        d(m.size()),
        o_rest(o.size()),
        d_rest(m.size()) {}
  SoftmaxState View() { return {o.data(), m.data(), d.data(), o_rest.data(), d_rest.data()}; }
  std::vector<float> o, m, d, o_rest, d_rest;
};

// The algebra of partial results: an empty one is the identity on both sides, two empty ones stay
// empty, and a merge equals the softmax over both.
TEST_P(AttentionKernelsTest, MergeAlgebra) {
  const float inf = std::numeric_limits<float>::infinity();
  States total(4, 16);
  States piece(4, 16);
  for (States* s : {&total, &piece}) std::fill(s->m.begin(), s->m.end(), -inf);
  const auto set = [](States& s, std::int64_t row, float o, float m, float d) {
    std::fill_n(&s.o[row * 16], 16, o);
    s.m[row] = m;
    s.d[row] = d;
  };
  set(total, 0, 3.0f, 1.5f, 2.0f);      // row 0: total only
  set(piece, 1, 5.0f, -1e30f, 4.0f);    // row 1: piece only
  set(total, 3, 1.0f, 10000.0f, 1.0f);  // row 3: both
  set(piece, 3, 2.0f, 9999.0f, 1.0f);
  kernels_.merge(4, 16, piece.View(), total.View());
  EXPECT_EQ(total.o[0], 3.0f);
  EXPECT_EQ(total.d[0], 2.0f);
  EXPECT_EQ(total.o[16], 5.0f);
  EXPECT_EQ(total.m[1], -1e30f);
  EXPECT_EQ(total.d[1], 4.0f);
  EXPECT_EQ(total.o[32], 0.0f);
  EXPECT_EQ(total.m[2], -inf);
  EXPECT_EQ(total.d[2], 0.0f);
  EXPECT_EQ(total.m[3], 10000.0f);
  EXPECT_NEAR(total.o[48], 1 + 2 * 0.5, 1e-6);
  EXPECT_NEAR(total.d[3], 1 + 0.5, 1e-6);

  kernels_.normalise(4, 16, total.View());
  EXPECT_EQ(total.o[0], 1.5f);
  EXPECT_EQ(total.o[16 + 15], 1.25f);
  EXPECT_EQ(total.o[32], 0.0f);
}

INSTANTIATE_TEST_SUITE_P(Isas, AttentionKernelsTest, ::testing::ValuesIn(SupportedIsas()),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
