#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace foveate {
namespace {

// The value of a half by its definition: sign, exponent, mantissa.
double HalfValue(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(Half, WidensEveryFiniteValueExactly) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if (((bits >> 10) & 31) == 31) continue;
    EXPECT_EQ(ToFloat(Half{static_cast<std::uint16_t>(bits)}), HalfValue(bits)) << bits;
  }
}

TEST(Half, EveryValueSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<std::uint16_t>(bits)};
    const float value = ToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(ToFloat(ToHalf(value))));
    } else {
      EXPECT_EQ(ToHalf(value).bits, bits);
    }
  }
}

TEST(Half, RoundsToTheNearestAndTiesToEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const float value = std::ldexp(std::uniform_real_distribution<float>(-1, 1)(random),
                                   static_cast<int>(random() % 44) - 27);
    const std::uint16_t bits = ToHalf(value).bits;
    const double error = std::abs(HalfValue(bits) - value);
    for (int step : {-1, 1}) {
      const std::uint16_t neighbour = static_cast<std::uint16_t>(bits + step);
      if (((neighbour >> 10) & 31) == 31 || (neighbour ^ bits) & 0x8000) continue;
      const double other = std::abs(HalfValue(neighbour) - value);
      EXPECT_LE(error, other) << value;
      if (error == other) {
        EXPECT_EQ(bits & 1, 0) << value;
      }
    }
  }
  EXPECT_EQ(ToHalf(65519.0f).bits, 0x7bff);
  EXPECT_EQ(ToHalf(65520.0f).bits, 0x7c00);
  EXPECT_EQ(ToHalf(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
}

TEST(BFloat16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(ToBFloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(ToBFloat16(1.00390625f).bits, 0x3f80);  // half-way, down to even
  EXPECT_EQ(ToBFloat16(1.01171875f).bits, 0x3f82);  // half-way, up to even
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(std::nanf("")))));
  EXPECT_EQ(ToFloat(BFloat16{0xc040}), -3.0f);
}

}  // namespace
}  // namespace foveate
