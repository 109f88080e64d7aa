// The error bounds that kernels/exp-inl.h states, over a fine sample of all floats.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/isa_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/attention_exp_test.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/exp-inl.h"

#ifndef FOVEATE_ATTENTION_EXP_TEST_
#define FOVEATE_ATTENTION_EXP_TEST_
namespace foveate {
inline constexpr int kBatch = 64;
struct ExpFunctions {
  void (*exp)(const float* x, float* y);  // kBatch numbers
  void (*exp_non_positive)(const float* x, float* y);
  void (*exp2_non_positive)(const float* x, float* y);
  void (*tanh)(const float* x, float* y);
};
}  // namespace foveate
#endif

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
void ExpBatch(const float* x, float* y) {
  for (int i = 0; i < kBatch; i += kLanes) Store(Exp(Load(x + i)), y + i);
}
void ExpNonPositiveBatch(const float* x, float* y) {
  for (int i = 0; i < kBatch; i += kLanes) Store(ExpNonPositive(Load(x + i)), y + i);
}
void Exp2NonPositiveBatch(const float* x, float* y) {
  for (int i = 0; i < kBatch; i += kLanes) Store(Exp2NonPositive(Load(x + i)), y + i);
}
void TanhBatch(const float* x, float* y) {
  for (int i = 0; i < kBatch; i += kLanes) Store(Tanh(Load(x + i)), y + i);
}
constexpr ExpFunctions kExpFunctions = {ExpBatch, ExpNonPositiveBatch, Exp2NonPositiveBatch,
                                        TanhBatch};
}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {
namespace {

// Calls check(x, y) for a sample of all finite floats x, y being function(x).
template <typename Check>
void ForFloats(void (*function)(const float*, float*), const Check& check) {
  constexpr std::uint64_t kStep = 1009;
  std::array<float, kBatch> x;
  std::array<float, kBatch> y;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32);) {
    for (float& value : x) {
      value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
      bits += kStep;
    }
    function(x.data(), y.data());
    for (int i = 0; i < kBatch; ++i) {
      if (std::isfinite(x[i])) check(double{x[i]}, double{y[i]});
    }
  }
}

class AttentionExpTest : public ::testing::TestWithParam<Isa> {
 protected:
  const ExpFunctions& functions_ = FOVEATE_TABLE_FOR(GetParam(), kExpFunctions);

  float Of(void (*function)(const float*, float*), float x) {
    std::array<float, kBatch> in;
    std::array<float, kBatch> out;
    in.fill(x);
    function(in.data(), out.data());
    return out[7];
  }
};

TEST_P(AttentionExpTest, ExpWithinItsBound) {
  double worst = 0;
  ForFloats(functions_.exp, [&](double x, double y) {
    if (x > 88.72) {
      EXPECT_TRUE(std::isinf(y)) << x;
    } else if (x < -86.6) {
      EXPECT_EQ(y, 0) << x;
    } else {
      worst = std::max(worst, std::abs(y / std::exp(x) - 1));
    }
  });
  EXPECT_LE(worst, 1.0e-7);
  EXPECT_GT(worst, 1.0e-9);  // the sample did reach inexact results
}

TEST_P(AttentionExpTest, ExpNonPositiveIsExpThere) {
  std::vector<double> expected;
  ForFloats(functions_.exp, [&](double, double y) { expected.push_back(y); });
  std::size_t i = 0;
  ForFloats(functions_.exp_non_positive, [&](double x, double y) {
    if (x <= 0) {
      EXPECT_EQ(y, expected[i]) << x;
    }
    ++i;
  });
  EXPECT_EQ(i, expected.size());
}

TEST_P(AttentionExpTest, Exp2NonPositiveWithinItsBound) {
  double worst = 0;
  ForFloats(functions_.exp2_non_positive, [&](double x, double y) {
    if (x > 0) return;
    if (x < -125) {
      EXPECT_EQ(y, 0) << x;
    } else {
      worst = std::max(worst, std::abs(y / std::exp2(x) - 1));
    }
  });
  EXPECT_LE(worst, 2.0e-7);
  EXPECT_GT(worst, 1.0e-9);
  EXPECT_EQ(Of(functions_.exp2_non_positive, 0.0f), 1.0f);
  EXPECT_EQ(Of(functions_.exp2_non_positive, -std::numeric_limits<float>::infinity()), 0.0f);
}

TEST_P(AttentionExpTest, TanhWithinItsBound) {
  double worst = 0;
  ForFloats(functions_.tanh, [&](double x, double y) {
    if (std::abs(x) < std::numeric_limits<float>::min()) return;  // denormals: absolute error
    worst = std::max(worst, std::abs(y / std::tanh(x) - 1));
  });
  EXPECT_LE(worst, 2.0e-7);
  EXPECT_GT(worst, 1.0e-9);
}

TEST_P(AttentionExpTest, SpecialValues) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(Of(functions_.exp, 0.0f), 1.0f);
  EXPECT_EQ(Of(functions_.exp, -0.0f), 1.0f);
  EXPECT_EQ(Of(functions_.exp, inf), inf);
  EXPECT_EQ(Of(functions_.exp, -inf), 0.0f);
  EXPECT_EQ(Of(functions_.exp_non_positive, -inf), 0.0f);
  EXPECT_TRUE(std::isnan(Of(functions_.exp, nan)));
  EXPECT_EQ(Of(functions_.tanh, inf), 1.0f);
  EXPECT_EQ(Of(functions_.tanh, -inf), -1.0f);
  EXPECT_EQ(Of(functions_.tanh, 0.0f), 0.0f);
  EXPECT_TRUE(std::isnan(Of(functions_.tanh, nan)));
}

INSTANTIATE_TEST_SUITE_P(Isas, AttentionExpTest, ::testing::ValuesIn(SupportedIsas()),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
#endif
