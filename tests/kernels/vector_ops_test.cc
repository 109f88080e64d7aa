#include "kernels/vector_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace foveate {
namespace {

class VectorOpsTest : public testing::TestWithParam<Isa> {
 protected:
  std::vector<float> Random(std::int64_t n, float range) {
    std::vector<float> values(n);
    for (float& value : values) {
      value = std::uniform_real_distribution<float>(-range, range)(random_);
    }
    return values;
  }

  const VectorOps& ops_ = VectorOpsFor(GetParam());
  std::mt19937 random_{7};
};

constexpr std::int64_t kSizes[] = {1, 2, 7, 8, 9, 16, 31, 32, 33, 64, 100, 576};

void ExpectClose(double actual, double expected, double tolerance = 4e-7) {
  EXPECT_NEAR(actual, expected, tolerance * std::max(1.0, std::abs(expected)));
}

TEST_P(VectorOpsTest, RmsNorm) {
  for (std::int64_t n : kSizes) {
    const auto x = Random(n, 3), weight = Random(n, 2);
    double squares = 0;
    for (float value : x) squares += double{value} * value;
    const double factor = 1 / std::sqrt(squares / n + 1e-5);
    std::vector<float> out = x;
    ops_.rms_norm(out.data(), weight.data(), 1e-5f, n, out.data());
    for (std::int64_t i = 0; i < n; ++i) ExpectClose(out[i], x[i] * factor * weight[i], 1e-6);
  }
}

TEST_P(VectorOpsTest, LayerNorm) {
  for (std::int64_t n : kSizes) {
    auto x = Random(n, 3);
    for (float& value : x) value += 50;  // the mean matters
    const auto weight = Random(n, 2), bias = Random(n, 2);
    double mean = 0, variance = 0;
    for (float value : x) mean += value / double(n);
    for (float value : x) variance += (value - mean) * (value - mean) / double(n);
    std::vector<float> out = x;
    ops_.layer_norm(out.data(), weight.data(), bias.data(), 1e-5f, n, out.data());
    for (std::int64_t i = 0; i < n; ++i) {
      ExpectClose(out[i], (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i],
                  n > 1 ? 3e-5 : 1e-2);
    }
  }
}

TEST_P(VectorOpsTest, Gelu) {
  std::vector<float> x;
  for (float value = -9; value < 9; value += 1.0f / 256) x.push_back(value);
  x.insert(x.end(), {-1e30f, -60, 60, 1e30f});
  std::vector<float> y = x;
  ops_.gelu(y.data(), std::ssize(y));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double expected = v / 2 * std::erfc(-v * std::sqrt(0.5));
    EXPECT_NEAR(y[i], expected, 2e-7 * (1 + std::abs(v))) << v;
  }
}

TEST_P(VectorOpsTest, Rotations) {
  for (std::int64_t pairs : kSizes) {
    const auto x = Random(2 * pairs, 3), angle = Random(pairs, 4);
    std::vector<float> cosine(pairs), sine(pairs);
    for (std::int64_t i = 0; i < pairs; ++i) {
      cosine[i] = std::cos(angle[i]);
      sine[i] = std::sin(angle[i]);
    }
    std::vector<float> halves = x, adjacent = x;
    ops_.rotate_halves(halves.data(), cosine.data(), sine.data(), pairs);
    ops_.rotate_adjacent(adjacent.data(), cosine.data(), sine.data(), pairs);
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double c = cosine[i], s = sine[i];
      ExpectClose(halves[i], x[i] * c - x[i + pairs] * s);
      ExpectClose(halves[i + pairs], x[i] * s + x[i + pairs] * c);
      ExpectClose(adjacent[2 * i], x[2 * i] * c - x[2 * i + 1] * s);
      ExpectClose(adjacent[2 * i + 1], x[2 * i] * s + x[2 * i + 1] * c);
    }
  }
}

TEST_P(VectorOpsTest, GatesAndCaps) {
  for (std::int64_t n : kSizes) {
    const auto z = Random(n, 12), up = Random(n, 2);
    std::vector<float> silu = z, gelu = z, cap = z, sum = z, scaled = z;
    ops_.silu_gate(silu.data(), up.data(), n);
    ops_.gelu_tanh_gate(gelu.data(), up.data(), n);
    ops_.soft_cap(cap.data(), 5.0f, n);
    ops_.add(sum.data(), up.data(), n);
    ops_.scale(scaled.data(), 0.3f, n);
    for (std::int64_t i = 0; i < n; ++i) {
      const double v = z[i];
      ExpectClose(silu[i], v / (1 + std::exp(-v)) * up[i], 1e-6);
      const double u = 0.7978845608 * (v + 0.044715 * v * v * v);
      ExpectClose(gelu[i], 0.5 * v * (1 + std::tanh(u)) * up[i], 1e-6);
      ExpectClose(cap[i], 5 * std::tanh(v / 5), 1e-6);
      EXPECT_EQ(sum[i], z[i] + up[i]);
      EXPECT_EQ(scaled[i], z[i] * 0.3f);
    }
  }
}

TEST_P(VectorOpsTest, Softmax) {
  for (std::int64_t n : kSizes) {
    for (const float shift : {0.0f, -1e5f, 1e5f}) {
      std::vector<float> x = Random(n, 9);
      for (float& value : x) value += shift;
      if (n > 2) x[n / 2] = -INFINITY;
      double sum = 0;
      const double max = *std::max_element(x.begin(), x.end());
      for (const float value : x) sum += std::exp(value - max);
      std::vector<float> p = x;
      ExpectClose(ops_.softmax(p.data(), n), max + std::log(sum));
      for (std::int64_t i = 0; i < n; ++i) ExpectClose(p[i], std::exp(x[i] - max) / sum);
    }
    std::vector<float> hidden(n, -INFINITY);
    EXPECT_EQ(ops_.softmax(hidden.data(), n), -INFINITY);
    EXPECT_EQ(hidden, std::vector<float>(n, 0.0f));
  }
}

TEST_P(VectorOpsTest, ExtremesStayFinite) {
  const float extremes[] = {-1e30f, -1e5f, -89, -0.0f, 0, 89, 1e5f, 1e12f};
  for (float value : extremes) {
    float silu = value, gelu = value, cap = value;
    const float one = 1;
    ops_.silu_gate(&silu, &one, 1);
    ops_.gelu_tanh_gate(&gelu, &one, 1);
    ops_.soft_cap(&cap, 30.0f, 1);
    EXPECT_TRUE(std::isfinite(silu)) << value;
    EXPECT_TRUE(std::isfinite(gelu)) << value;
    EXPECT_LE(std::abs(cap), 30.0f) << value;
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, VectorOpsTest, testing::ValuesIn(SupportedIsas()),
                         [](const auto& info) { return IsaName(info.param); });

}  // namespace
}  // namespace foveate
