// The operator over plain tensors against the float64 oracle.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "kernels/attention_kernels.h"
#include "tests/support/attention_problem.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using namespace testing;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> Isas() { return DistinctIsas(AttentionKernelsFor); }

template <typename T>
T Pick(std::mt19937& random, std::initializer_list<T> values) {
  return *(values.begin() + random() % values.size());
}

// --- random problems ---

AttentionSizes RandomSizes(std::mt19937& random) {
  const auto extent = [&] {
    return Pick<std::int64_t>(
        random, {1, 2, 3, 5, 7, 13, 31, 61, 63, 64, 65, 97, 127, 128, 129, 191, 193, 256, 257});
  };
  const auto dimension = [&] {
    return Pick<std::int64_t>(random, {1,  2,  3,  5,  7,   8,   15,  16,  17,  24,  31,  32, 33,
                                       48, 64, 80, 97, 128, 129, 255, 256, 257, 509, 511, 512});
  };
  AttentionSizes s;
  do {
    s.batches = Pick<std::int64_t>(random, {1, 1, 2, 3});
    std::tie(s.heads, s.kv_heads) = Pick<std::pair<std::int64_t, std::int64_t>>(
        random, {{1, 1}, {6, 1}, {9, 3}, {14, 2}, {4, 4}, {12, 4}});
    s.rows = extent();
    s.keys = random() % 20 == 0 ? 0 : extent();
    s.key_dim = dimension();
    s.value_dim = random() % 2 == 0 ? s.key_dim : dimension();
  } while (s.batches * s.heads * s.rows * s.keys * (s.key_dim + s.value_dim) > 4'000'000);
  return s;
}

// Whatever a caller might think of: nothing is known of a band but its elements.
PatternPtr Speckled(std::int64_t step, std::int64_t some) {
  return MakePredicate(
      [=](std::int64_t position, std::int64_t key) {
        return ((position * 7 + key * 3) % step + step) % step < some;
      },
      [](Range, std::int64_t keys) { return Coverage{{}, {{0, keys}}}; });
}

PatternPtr RandomPattern(std::mt19937& random, int depth = 0) {
  const auto window = [&] {
    return Window(Pick<std::int64_t>(random, {-1, 0, 1, 5, 63, 64, 100}),
                  Pick<std::int64_t>(random, {-1, 0, 0, 0, 2, 70}));
  };
  switch (random() % (depth < 2 ? 7 : 4)) {
    case 0: return nullptr;
    case 1: return Window(-1, 0);
    case 2: return window();
    case 3: return Speckled(5, 1 + static_cast<std::int64_t>(random() % 4));
    case 4: return Speckled(200, 3);  // whole tiles without a key
    default: break;
  }
  PatternPtr a = RandomPattern(random, depth + 1), b = RandomPattern(random, depth + 1);
  if (a == nullptr || b == nullptr) return window();
  return random() % 2 == 0 ? And(a, b) : Or(a, b);
}

void RandomBias(AttentionProblem& problem, std::mt19937& random) {
  const AttentionSizes& s = problem.sizes;
  std::array<std::int64_t, 4> shape{s.batches, s.heads, s.rows, s.keys};
  std::int64_t count = 1;
  for (std::int64_t& extent : shape) {
    if (random() % 2 == 0) extent = 1;
    count *= extent;
  }
  const float hidden = Pick(random, {-kInfinity, -1e38f, -1e30f});
  const bool mask = random() % 3 == 0;
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> bias(count);
  for (float& value : bias) value = random() % 4 == 0 ? hidden : mask ? 0.0f : normal(random);
  problem.SetBias(shape, std::move(bias));
}

void RandomOptions(AttentionProblem& problem, std::mt19937& random) {
  AttentionOptions& options = problem.options;
  const std::int64_t heads = problem.sizes.heads;
  options.pattern = RandomPattern(random);
  if (random() % 4 == 0) {
    const PatternPtr pool[] = {RandomPattern(random), RandomPattern(random), RandomPattern(random)};
    for (std::int64_t h = 0; h < heads; ++h) options.head_patterns.push_back(pool[random() % 3]);
  }
  if (random() % 3 == 0) options.scale = Pick(random, {0.3f, -0.5f, 0.0f, 1.0f});
  options.soft_cap = Pick(random, {0.0f, 0.0f, 2.0f, 30.0f});
  std::normal_distribution<float> normal(0, 2);
  for (std::int64_t h = 0; h < heads && problem.sizes.keys % 3 == 0; ++h) {
    options.alibi_slopes.push_back(std::exp2(-8.0f * static_cast<float>(h + 1) / heads));
  }
  if (random() % 3 == 0) RandomBias(problem, random);
  for (std::int64_t h = 0; h < heads && problem.sizes.rows % 3 == 0; ++h) {
    options.sinks.push_back(random() % 8 == 0 ? -kInfinity : normal(random));
  }
}

ElementType RandomType(std::mt19937& random) {
  return Pick(random,
              {ElementType::kF32, ElementType::kF32, ElementType::kF16, ElementType::kBF16});
}

Order RandomOrder(std::mt19937& random) {
  return Pick(random,
              {Order::kDense, Order::kDense, Order::kRowsFirst, Order::kTransposed, Order::kGaps});
}

std::unique_ptr<AttentionProblem> RandomProblem(std::mt19937& random) {
  auto problem = std::make_unique<AttentionProblem>(RandomSizes(random), random);
  const float spread = Pick(random, {0.1f, 1.0f, 1.0f, 3.0f});
  for (HeldTensor* tensor : {&problem->query, &problem->key, &problem->value}) {
    const Order order = random() % 16 == 0 ? Order::kOneHead : RandomOrder(random);
    *tensor = HeldTensor(tensor->shape(), RandomType(random), order);
    tensor->Randomise(random, 0, tensor == &problem->value ? 1 : spread);
  }
  RandomOptions(*problem, random);
  return problem;
}

std::string Text(const AttentionSizes& s) {
  return fmt::format("B{} H{}/{} N{} M{} D{} Dv{}", s.batches, s.heads, s.kv_heads, s.rows, s.keys,
                     s.key_dim, s.value_dim);
}

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
  for (const Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
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
