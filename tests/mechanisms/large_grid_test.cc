// A grid with more than 2^31 pairs of tokens, forward and backward: sums over the neighbours of
// some tokens in float64.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "attention/attention_backward.h"
#include "mechanisms/spec.h"

namespace foveate {
namespace {

constexpr std::int64_t kTokens = 24 * 48 * 48, kDim = 8;
static_assert(kTokens * kTokens > std::int64_t{1} << 31);

class LargeGridTest : public ::testing::Test {
 protected:
  LargeGridTest() {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (auto* tensor : {&q_, &k_, &v_, &dout_}) {
      tensor->resize(kTokens * kDim);
      for (float& value : *tensor) value = normal(random);
    }
    for (auto* tensor : {&out_, &dq_, &dk_, &dv_}) tensor->resize(kTokens * kDim);
    lse_.resize(kTokens);
  }

  static TensorRef<4> Ref(const std::vector<float>& tensor) {
    return DenseRef(tensor.data(), {1, 1, kTokens, kDim});
  }
  static MutableTensorRef<4> Ref(std::vector<float>& tensor) {
    return DenseRef(tensor.data(), {1, 1, kTokens, kDim});
  }

  bool Attends(std::int64_t row, std::int64_t key) const {
    return pattern_->Attends({kTokens, kTokens}, row, key);
  }
  static double Dot(const std::vector<float>& a, std::int64_t i, const std::vector<float>& b,
                    std::int64_t j) {
    double sum = 0;
    for (std::int64_t d = 0; d < kDim; ++d) sum += double{a[i * kDim + d]} * b[j * kDim + d];
    return sum;
  }
  double Score(std::int64_t row, std::int64_t key) const {
    return Dot(q_, row, k_, key) / std::sqrt(double{kDim});
  }

  static void ExpectRow(const std::vector<float>& values, std::int64_t row,
                        const std::vector<double>& expected) {
    for (std::int64_t d = 0; d < kDim; ++d) {
      EXPECT_NEAR(values[row * kDim + d], expected[d], 1e-5 * (1 + std::abs(expected[d])))
          << "token " << row << " element " << d;
    }
  }

  PatternPtr pattern_ =
      ParseAttentionSpec("neighborhood:shape=24x48x48,window=3x5x6,dilation=2x3x1,causal=1x0x0")
          .At(0, 0)
          .pattern;
  std::vector<float> q_, k_, v_, dout_, out_, lse_, dq_, dk_, dv_;
};

TEST_F(LargeGridTest, SomeTokens) {
  Context context({.threads = 2});
  AttentionScratch scratch;
  const AttentionOptions options{.pattern = pattern_};
  const std::vector<float>&q = q_, &k = k_, &v = v_, &dout = dout_;
  Attention(context, {Ref(q), Ref(k), Ref(v)}, options, scratch,
            {Ref(out_), MakeView(lse_.data(), 1, 1, kTokens)});
  const std::vector<float>& out = out_;
  AttentionBackward(context,
                    {{Ref(q), Ref(k), Ref(v)},
                     Ref(out),
                     MakeView<const float>(lse_.data(), 1, 1, kTokens),
                     Ref(dout)},
                    options, scratch, {Ref(dq_), Ref(dk_), Ref(dv_)});
  for (const std::int64_t token : {std::int64_t{0}, std::int64_t{47}, kTokens / 2 + 1000,
                                   kTokens / 3, kTokens - 49, kTokens - 1}) {
    std::vector<double> of_out(kDim), of_dq(kDim), of_dk(kDim), of_dv(kDim);
    double sum = 0;
    for (std::int64_t other = 0; other < kTokens; ++other) {
      if (Attends(token, other)) {
        const double p = std::exp(Score(token, other) - lse_[token]);
        const double ds = p * (Dot(dout, token, v, other) - Dot(dout, token, out, token));
        sum += p;
        for (std::int64_t d = 0; d < kDim; ++d) {
          of_out[d] += p * v[other * kDim + d];
          of_dq[d] += ds * k[other * kDim + d] / std::sqrt(double{kDim});
        }
      }
      if (Attends(other, token)) {
        const double p = std::exp(Score(other, token) - lse_[other]);
        const double ds = p * (Dot(dout, other, v, token) - Dot(dout, other, out, other));
        for (std::int64_t d = 0; d < kDim; ++d) {
          of_dk[d] += ds * q[other * kDim + d] / std::sqrt(double{kDim});
          of_dv[d] += p * dout[other * kDim + d];
        }
      }
    }
    EXPECT_NEAR(sum, 1, 1e-5) << token;
    ExpectRow(out, token, of_out);
    ExpectRow(dq_, token, of_dq);
    ExpectRow(dk_, token, of_dk);
    ExpectRow(dv_, token, of_dv);
  }
}

}  // namespace
}  // namespace foveate
