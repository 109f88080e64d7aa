// The operator over plain tensors against the float64 oracle.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "kernels/attention_kernels.h"
#include "tests/support/attention_problem.h"
#include "tests/support/isas.h"
#include "tests/support/random_attention.h"

namespace foveate {
namespace {

using namespace testing;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> Isas() { return DistinctIsas(AttentionKernelsFor); }

TEST(AttentionOperator, RandomProblemsAgreeWithTheOracle) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    const auto problem = RandomProblem(random);
    SCOPED_TRACE(fmt::format("seed {} {}", seed, Text(problem->sizes)));
    const reference::AttentionAnswer answer = problem->Solve();
    const ElementType type = RandomType(random);
    const Order order = RandomOrder(random);
    for (const Isa isa : Isas()) {
      SCOPED_TRACE(IsaName(isa));
      Context context({.threads = 1 + static_cast<int>(seed % 3), .isa = isa});
      ExpectAnswer(RunOperator(context, *problem, type, order), answer);
      if (HasFatalFailure()) return;
    }
  }
}

// Probabilities have 16 bits there: they are cut to 8, and the rest is rounded to 8.
TEST(AttentionOperator, MatrixUnitAgreesWithTheOracle) {
  for (const auto& [isa, type] : AttentionWays()) {
    if (type != ElementType::kBF16) continue;
    for (unsigned seed = 1; seed <= 300; ++seed) {
      std::mt19937 random(seed);
      const auto problem = RandomProblem(random, 1'000'000, type);
      SCOPED_TRACE(fmt::format("seed {} {}", seed, Text(problem->sizes)));
      double largest = 0;
      for (const double value : problem->value.Values()) {
        largest = std::max(largest, std::abs(value));
      }
      Context context({.threads = 1 + static_cast<int>(seed % 3), .isa = isa});
      ExpectAnswer(RunOperator(context, *problem, RandomType(random), RandomOrder(random)),
                   problem->Solve(), 0x1p-16 * largest);
      if (HasFatalFailure()) return;
    }
  }
}

void ExpectAgrees(const AttentionProblem& problem) {
  const reference::AttentionAnswer answer = problem.Solve();
  for (const Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    Context context({.threads = 2, .isa = isa});
    ExpectAnswer(RunOperator(context, problem), answer);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// --- numbers at the edge ---

// Logits spread over +-10,000, and all of them near -100,000.
TEST(AttentionOperator, LargeLogits) {
  std::mt19937 random(1);
  for (const float cap : {0.0f, 50.0f}) {
    for (const float mean : {0.0f, -35.0f}) {
      AttentionProblem problem({1, 4, 2, 70, 200, 80, 24}, random);
      problem.options.scale = 1.0f;
      problem.options.soft_cap = cap;
      problem.query.Randomise(random, -mean, mean == 0 ? 35 : 1);
      problem.key.Randomise(random, mean, mean == 0 ? 35 : 1);
      const std::vector<double> lse = problem.Solve().lse;
      if (cap == 0) {
        const double largest = *std::max_element(lse.begin(), lse.end());
        EXPECT_GT(largest, mean == 0 ? 1e4 : -1.1e5);
        EXPECT_LT(largest, mean == 0 ? 1e5 : -0.9e5);
      }
      ExpectAgrees(problem);
    }
  }
}

// A long mean of large values that nearly agree, with weights that agree or not.
TEST(AttentionOperator, ManyKeysWithLargeValues) {
  std::mt19937 random(2);
  for (const bool equal : {true, false}) {
    AttentionProblem problem({1, 2, 1, 3, 65536, 8, 16}, random);
    problem.value.Randomise(random, 1000, 1);
    if (equal) problem.query.Fill(0);
    ExpectAgrees(problem);
  }
}

// The worst that can happen to a sum: every addition rounds the same way. That costs as much as it
// does over the 256 keys of one step (n additions that are each off by half a unit of the largest
// sum: n / 4 units of the mean), and no more for all others.
TEST(AttentionOperator, ManyKeysWithEqualValues) {
  std::mt19937 random(3);
  for (const float value : {0.1f, 1000.1f, 0.7f}) {
    AttentionProblem problem({1, 1, 1, 2, 65536, 4, 16}, random);
    problem.query.Fill(0);
    problem.value.Fill(value);
    for (const Isa isa : Isas()) {
      Context context({.threads = 2, .isa = isa});
      for (const double out : RunOperator(context, problem).out.Values()) {
        ASSERT_NEAR(out, value, 256 / 4 * 0x1p-24 * value) << IsaName(isa);
      }
    }
  }
}

// Whole tiles and steps that a mask or a bias empties, amid others.
TEST(AttentionOperator, HiddenTilesInsideLiveRows) {
  std::mt19937 random(4);
  AttentionProblem problem({1, 6, 2, 70, 1100, 16, 16}, random);
  std::vector<float> bias(1100);
  for (const auto& [begin, end] : {std::pair{0, 300}, {320, 448}, {512, 1030}}) {
    std::fill(bias.begin() + begin, bias.begin() + end, -kInfinity);
  }
  problem.SetBias({1, 1, 1, 1100}, bias);
  ExpectAgrees(problem);
  problem.options.pattern = Or(Speckled(900, 5), Window(3, 0));
  ExpectAgrees(problem);
}

// --- keys that must not be felt ---

// Where row, head does not attend the bad key, the same bits as without it; elsewhere no number
// that looks right.
void ExpectContained(const AttentionProblem& problem, const AttentionResult& clean,
                     const AttentionResult& bad, std::int64_t key, bool bad_key, int dimension) {
  bad.out.ForEach([&](std::int64_t b, std::int64_t h, std::int64_t r, std::int64_t d) {
    const auto hidden = [&] {
      if (!problem.Attends(h, r, key)) return true;
      if (problem.options.bias.data == nullptr) return false;
      const auto& n = problem.options.bias.shape;
      return problem.options.bias(b % n[0], h % n[1], r % n[2], key % n[3]) <= -1e30f;
    };
    const bool touched = !hidden() && (bad_key || d == dimension);
    const double value = bad.out.Get(b, h, r, d);
    if (touched) {
      ASSERT_FALSE(std::isfinite(value)) << "head " << h << " row " << r << " dimension " << d;
    } else {
      ASSERT_EQ(value, clean.out.Get(b, h, r, d))
          << "head " << h << " row " << r << " dimension " << d;
    }
  });
}

void ExpectNoLeaks(AttentionProblem& problem) {
  const AttentionSizes& s = problem.sizes;
  const float odd_nan = std::bit_cast<float>(0x7fffffffu);
  for (const auto& [isa, type] : AttentionWays()) {
    SCOPED_TRACE(fmt::format("{} {}", IsaName(isa), ElementTypeName(type)));
    problem.ConvertTo(type);
    Context context({.threads = 2, .isa = isa});
    const AttentionResult clean = RunOperator(context, problem);
    for (const std::int64_t key : {std::int64_t{0}, s.keys / 2, s.keys - 1}) {
      for (const float bad : {kNan, kInfinity, -kInfinity, odd_nan, -odd_nan}) {
        SCOPED_TRACE(fmt::format("key {} {}", key, bad));
        const std::int64_t dimension = s.value_dim - 1;
        const double number = problem.value.Get(0, 0, key, dimension);
        problem.value.Set(0, 0, key, dimension, bad);
        ExpectContained(problem, clean, RunOperator(context, problem), key, false, dimension);
        problem.value.Set(0, 0, key, dimension, static_cast<float>(number));
        if (!std::isnan(bad)) continue;  // an infinite score is a one-hot softmax or hides the key
        const double of_key = problem.key.Get(0, 0, key, 0);
        problem.key.Set(0, 0, key, 0, bad);
        ExpectContained(problem, clean, RunOperator(context, problem), key, true, 0);
        problem.key.Set(0, 0, key, 0, static_cast<float>(of_key));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(AttentionOperator, NansAndInfinitiesOfHiddenKeysDoNotLeak) {
  std::mt19937 random(5);
  for (const std::int64_t rows : {1, 5, 130}) {
    SCOPED_TRACE(rows);
    AttentionProblem problem({1, 3, 1, rows, 130, 9, 18}, random);
    for (const float cap : {0.0f, 5.0f}) {
      problem.options.soft_cap = cap;
      problem.options.pattern = Window(40, 0);
      ExpectNoLeaks(problem);
      problem.options.pattern = Speckled(3, 1);
      ExpectNoLeaks(problem);
      problem.options.head_patterns = {Window(-1, 0), Speckled(4, 1), Window(2, 2)};
      ExpectNoLeaks(problem);
      problem.options.head_patterns.clear();
    }
  }
}

TEST(AttentionOperator, NansAndInfinitiesOfKeysHiddenByBiasDoNotLeak) {
  std::mt19937 random(6);
  for (const float hidden : {-kInfinity, -1e38f}) {
    for (const std::int64_t heads : {1, 3}) {
      for (const std::int64_t rows : {1, 40}) {
        AttentionProblem problem({1, 3, 1, 40, 128, 9, 18}, random);
        std::vector<float> bias(heads * rows * 128);
        for (float& value : bias) value = random() % 2 == 0 ? hidden : 0.5f;
        problem.SetBias({1, heads, rows, 128}, bias);
        ExpectNoLeaks(problem);
        problem.options.pattern = Window(70, 0);
        ExpectNoLeaks(problem);
      }
    }
  }
}

}  // namespace
}  // namespace foveate
