#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace foveate {
namespace {

// Values of scipy.stats.binomtest(k, n).proportion_ci(method="wilson").
TEST(Statistics, WilsonIntervals) {
  const struct {
    std::int64_t successes, trials;
    double low, high;
  } kCases[] = {{5, 5, 0.565518, 1.0},
                {0, 5, 0.0, 0.434482},
                {18, 20, 0.698968, 0.972134},
                {50, 100, 0.403832, 0.596168}};
  for (const auto& c : kCases) {
    const Interval interval = WilsonInterval(c.successes, c.trials);
    EXPECT_NEAR(interval.low, c.low, 2e-6) << c.successes << "/" << c.trials;
    EXPECT_NEAR(interval.high, c.high, 2e-6) << c.successes << "/" << c.trials;
  }
}

// Values of scipy.stats.binomtest(min(b, c), b + c).pvalue.
TEST(Statistics, McNemar) {
  EXPECT_DOUBLE_EQ(McNemarTest(0, 0), 1);
  EXPECT_NEAR(McNemarTest(0, 5), 0.0625, 1e-12);
  EXPECT_NEAR(McNemarTest(2, 10), 0.03857421875, 1e-12);
  EXPECT_NEAR(McNemarTest(7, 7), 1, 1e-12);
  EXPECT_NEAR(McNemarTest(20, 3), 0.00048828125, 1e-12);
}

TEST(Statistics, HolmCorrection) {
  const std::vector<double> corrected = HolmCorrected(std::vector{0.01, 0.04, 0.03, 0.005});
  const double expected[] = {0.03, 0.06, 0.06, 0.02};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(corrected[i], expected[i], 1e-12) << i;
  EXPECT_TRUE(HolmCorrected({}).empty());
}

TEST(Statistics, SplitMix64IsTheKnownSequence) {
  SplitMix64 random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
}

// Differences that go together within blocks of 64, as neighbours in a text do: the interval covers
// the mean of all such texts in 95 of 100.
TEST(Statistics, BlockBootstrapCoversTheMean) {
  constexpr double kMean = 0.1;
  constexpr int kTexts = 300;
  SplitMix64 random(7);
  const auto uniform = [&] { return static_cast<double>(random.Next() >> 11) * 0x1p-53 - 0.5; };
  int covered = 0;
  for (int text = 0; text < kTexts; ++text) {
    std::vector<double> differences;
    for (int block = 0; block < 60; ++block) {
      const double shared = uniform();
      for (int i = 0; i < 64; ++i) differences.push_back(kMean + shared + 0.1 * uniform());
    }
    const Interval interval = BlockBootstrap(differences);
    covered += interval.low <= kMean && kMean <= interval.high;
  }
  EXPECT_GE(covered, kTexts * 90 / 100);
  EXPECT_LE(covered, kTexts * 99 / 100);
}

}  // namespace
}  // namespace foveate
