// The backward pass against the float64 oracle.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "attention/attention_backward.h"
#include "attention/window_pattern.h"
#include "base/throw.h"
#include "kernels/attention_backward_kernels.h"
#include "tests/support/attention_gradient.h"
#include "tests/support/isas.h"
#include "tests/support/random_attention.h"

namespace foveate {
namespace {

using namespace testing;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> Isas() { return DistinctIsas(AttentionBackwardKernelsFor); }

void ExpectAgrees(const AttentionProblem& problem, std::mt19937& random, int threads = 2,
                  const GradientStorage& storage = {}) {
  const HeldTensor dout = RandomDout(problem, storage, random);
  const reference::AttentionGradientAnswer answer = SolveGradient(problem, dout, storage);
  for (const Isa isa : Isas()) {
    SCOPED_TRACE(IsaName(isa));
    Context context({.threads = threads, .isa = isa});
    ExpectGradients(RunForwardAndBackward(context, problem, dout, storage), answer);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(AttentionBackward, RandomProblemsAgreeWithTheOracle) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    const auto problem = RandomProblem(random, 2'000'000);
    const GradientStorage storage{RandomType(random), RandomType(random), RandomOrder(random)};
    SCOPED_TRACE(fmt::format("seed {} {}", seed, Text(problem->sizes)));
    ExpectAgrees(*problem, random, 1 + static_cast<int>(seed % 3), storage);
    if (HasFatalFailure()) return;
  }
}

// Every dimension about those at which registers and panels end.
TEST(AttentionBackward, EveryDimension) {
  std::mt19937 random(1);
  for (std::int64_t dim = 1; dim <= 256; dim += dim < 34 ? 1 : 37) {
    SCOPED_TRACE(dim);
    AttentionProblem problem({1, 2, 1, 13, 70, dim, 257 - dim}, random);
    problem.options.pattern = Window(-1, 0);
    ExpectAgrees(problem, random);
    if (HasFatalFailure()) return;
  }
}

// Every number of rows and keys about those of a tile.
TEST(AttentionBackward, EveryTileEdge) {
  std::mt19937 random(2);
  for (const std::int64_t rows : {1, 2, 5, 6, 7, 8, 9, 17, 63, 64, 65, 127, 129}) {
    for (const std::int64_t keys : {1, 3, 15, 16, 17, 63, 64, 65, 128, 130}) {
      for (const PatternPtr& pattern : {PatternPtr(), Window(-1, 0), Window(9, 3)}) {
        SCOPED_TRACE(fmt::format("N{} M{}", rows, keys));
        AttentionProblem problem({1, 1, 1, rows, keys, 8, 16}, random);
        problem.options.pattern = pattern;
        ExpectAgrees(problem, random);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Logits spread over +-10,000, and all of them near -100,000.
TEST(AttentionBackward, LargeLogits) {
  std::mt19937 random(3);
  for (const float cap : {0.0f, 50.0f}) {
    for (const float mean : {0.0f, -35.0f}) {
      AttentionProblem problem({1, 4, 2, 70, 200, 80, 24}, random);
      problem.options.scale = 1.0f;
      problem.options.soft_cap = cap;
      problem.query.Randomise(random, -mean, mean == 0 ? 35 : 1);
      problem.key.Randomise(random, mean, mean == 0 ? 35 : 1);
      ExpectAgrees(problem, random);
    }
  }
}

// The worst that can happen to sums over rows: every addition rounds the same way. It costs what 64
// additions and one for each tile of rows cost.
TEST(AttentionBackward, ManyRowsWithEqualGradients) {
  constexpr std::int64_t kRows = 20000;
  std::mt19937 random(4);
  AttentionProblem problem({1, 1, 1, kRows, 3, 4, 16}, random);
  problem.query.Fill(0);
  HeldTensor dout(problem.query.shape(), ElementType::kF32, Order::kDense);
  dout = HeldTensor({1, 1, kRows, 16}, ElementType::kF32, Order::kDense);
  dout.Fill(0.7f);
  for (const Isa isa : Isas()) {
    Context context({.threads = 2, .isa = isa});
    const double expected = kRows * double{0.7f} / 3;
    for (const double value : RunForwardAndBackward(context, problem, dout).dvalue.Values()) {
      ASSERT_NEAR(value, expected, (64 + kRows / 64) / 4 * 0x1p-24 * expected) << IsaName(isa);
    }
  }
}

// Rows without keys: they get zeros, and give nothing whatever is in them.
TEST(AttentionBackward, RowsThatSeeNothing) {
  std::mt19937 random(5);
  AttentionProblem problem({2, 4, 2, 150, 90, 24, 20}, random);
  problem.options.pattern = Window(-1, 0);  // the first 60 rows stand before the first key
  GradientStorage storage;
  HeldTensor dout = RandomDout(problem, storage, random);
  const auto answer = SolveGradient(problem, dout);
  for (std::int64_t row = 0; row < 60; ++row) {
    problem.query.Set(0, 1, row, 3, kNan);
    problem.query.Set(1, 2, row, 0, kInfinity);
    dout.Set(1, 0, row, 7, kNan);
  }
  for (const Isa isa : Isas()) {
    Context context({.threads = 2, .isa = isa});
    const GradientResult result = RunForwardAndBackward(context, problem, dout);
    ExpectGradients(result, answer);
    for (std::int64_t row = 0; row < 60; ++row) ASSERT_EQ(result.dquery.Get(0, 1, row, 3), 0);
  }
}

TEST(AttentionBackward, NoKeysOrNoRows) {
  std::mt19937 random(6);
  for (const auto& [rows, keys] : {std::pair{0, 70}, {70, 0}, {0, 0}}) {
    AttentionProblem problem({2, 2, 1, rows, keys, 8, 8}, random);
    ExpectAgrees(problem, random);
  }
}

// --- numbers that are none ---

// Whether the row of some query head that reads the KV head attends the key.
bool AnyRowSees(const AttentionProblem& problem, std::int64_t kv_head, std::int64_t row,
                std::int64_t key) {
  const std::int64_t group = problem.sizes.heads / problem.sizes.kv_heads;
  for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    if (problem.Attends(h, row, key)) return true;
  }
  return false;
}

// A key or value that is no number: rows that do not attend to it get the same bits as without, and
// so does what only they give to; rows that do get no number.
TEST(AttentionBackward, KeysThatAreNoNumbersReachTheirRowsAlone) {
  std::mt19937 random(7);
  for (const PatternPtr& pattern : {Window(40, 0), Speckled(3, 1), Window(-1, 0)}) {
    AttentionProblem problem({1, 2, 1, 130, 130, 9, 18}, random);
    problem.options.pattern = pattern;
    const HeldTensor dout = RandomDout(problem, {}, random);
    for (const Isa isa : Isas()) {
      Context context({.threads = 2, .isa = isa});
      const GradientResult clean = RunForwardAndBackward(context, problem, dout);
      for (const std::int64_t key : {0, 65, 129}) {
        for (HeldTensor* tensor : {&problem.key, &problem.value}) {
          const double number = tensor->Get(0, 0, key, 5);
          tensor->Set(0, 0, key, 5, kNan);
          const GradientResult bad = RunForwardAndBackward(context, problem, dout);
          tensor->Set(0, 0, key, 5, static_cast<float>(number));
          bad.dquery.ForEach([&](std::int64_t b, std::int64_t h, std::int64_t r, std::int64_t d) {
            const double value = bad.dquery.Get(b, h, r, d);
            if (problem.Attends(h, r, key)) {
              ASSERT_TRUE(std::isnan(value)) << "row " << r << " key " << key;
            } else {
              ASSERT_EQ(value, clean.dquery.Get(b, h, r, d)) << "row " << r << " key " << key;
            }
          });
          ASSERT_TRUE(std::isnan(bad.dkey.Get(0, 0, key, 0)));
          // Keys that no row sees together with the bad one.
          for (std::int64_t other = 0; other < 130; ++other) {
            bool together = false;
            for (std::int64_t r = 0; r < 130; ++r) {
              together |= AnyRowSees(problem, 0, r, key) && AnyRowSees(problem, 0, r, other);
            }
            if (together) continue;
            ASSERT_EQ(bad.dkey.Get(0, 0, other, 0), clean.dkey.Get(0, 0, other, 0)) << other;
            ASSERT_EQ(bad.dvalue.Get(0, 0, other, 0), clean.dvalue.Get(0, 0, other, 0)) << other;
          }
        }
      }
    }
  }
}

TEST(AttentionBackward, RowsThatAreNoNumbersReachTheirKeysAlone) {
  std::mt19937 random(8);
  for (const PatternPtr& pattern : {Window(40, 0), Speckled(3, 1)}) {
    AttentionProblem problem({1, 2, 1, 130, 130, 9, 18}, random);
    problem.options.pattern = pattern;
    HeldTensor dout = RandomDout(problem, {}, random);
    for (const Isa isa : Isas()) {
      Context context({.threads = 2, .isa = isa});
      const GradientResult clean = RunForwardAndBackward(context, problem, dout);
      for (const std::int64_t row : {0, 77, 129}) {
        for (HeldTensor* tensor : {&problem.query, &dout}) {
          const double number = tensor->Get(0, 1, row, 5);
          tensor->Set(0, 1, row, 5, kNan);
          const GradientResult bad = RunForwardAndBackward(context, problem, dout);
          tensor->Set(0, 1, row, 5, static_cast<float>(number));
          bad.dvalue.ForEach([&](std::int64_t b, std::int64_t h, std::int64_t key, std::int64_t d) {
            if (problem.Attends(1, row, key)) {
              ASSERT_TRUE(std::isnan(bad.dvalue.Get(b, h, key, d))) << "row " << row << " " << key;
              ASSERT_TRUE(std::isnan(bad.dkey.Get(b, h, key, d % 9))) << "row " << row;
            } else {
              ASSERT_EQ(bad.dvalue.Get(b, h, key, d), clean.dvalue.Get(b, h, key, d));
              ASSERT_EQ(bad.dkey.Get(b, h, key, d % 9), clean.dkey.Get(b, h, key, d % 9));
            }
          });
          for (std::int64_t other = 0; other < 130; ++other) {
            if (other == row) continue;
            ASSERT_EQ(bad.dquery.Get(0, 1, other, 0), clean.dquery.Get(0, 1, other, 0));
          }
        }
      }
    }
  }
}

// --- the same bits ---

TEST(AttentionBackwardBits, ThreadsDoNotShow) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 random(seed);
    auto problem = RandomProblem(random);
    SCOPED_TRACE(fmt::format("seed {} {}", seed, Text(problem->sizes)));
    const HeldTensor dout = RandomDout(*problem, {}, random);
    for (const Isa isa : Isas()) {
      Context one({.threads = 1, .isa = isa});
      const AttentionResult forward = RunOperator(one, *problem);
      const GradientResult expected = RunBackward(one, *problem, forward, dout);
      for (const int threads : {2, 3, 7}) {
        Context context({.threads = threads, .isa = isa});
        ASSERT_EQ(RunBackward(context, *problem, forward, dout), expected) << threads;
      }
    }
  }
}

// One head, so many rows that they are cut into parts.
TEST(AttentionBackwardBits, PartsOfAHeadDoNotDependOnThreads) {
  std::mt19937 random(9);
  for (const PatternPtr& pattern : {PatternPtr(), Window(-1, 0), Window(100, 20)}) {
    AttentionProblem problem({1, 2, 1, 1500, 1500, 16, 8}, random);
    problem.options.pattern = pattern;
    const HeldTensor dout = RandomDout(problem, {}, random);
    Context one({.threads = 1});
    const AttentionResult forward = RunOperator(one, problem);
    const GradientResult expected = RunBackward(one, problem, forward, dout);
    ExpectGradients(expected, SolveGradient(problem, dout));
    for (const int threads : {2, 5}) {
      Context context({.threads = threads});
      ASSERT_EQ(RunBackward(context, problem, forward, dout), expected) << threads;
    }
  }
}

TEST(AttentionBackwardBits, BatchesAndHeadsAloneOrAmongOthers) {
  std::mt19937 random(10);
  AttentionProblem problem({2, 4, 2, 100, 120, 24, 40}, random);
  problem.options.pattern = Window(50, 0);
  const HeldTensor dout = RandomDout(problem, {}, random);
  Context context({.threads = 2});
  const AttentionResult forward = RunOperator(context, problem);
  const GradientResult whole = RunBackward(context, problem, forward, dout);
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t h = 0; h < 4; ++h) {
      const auto part = [&](const HeldTensor& tensor, std::int64_t head) {
        TensorRef<4> ref = tensor.ref();
        ref.data = ref.At(b, head);
        ref.shape[0] = ref.shape[1] = 1;
        return ref;
      };
      HeldTensor dquery({1, 1, 100, 24}, ElementType::kF32, Order::kDense);
      HeldTensor dkey({1, 1, 120, 24}, ElementType::kF32, Order::kDense);
      HeldTensor dvalue({1, 1, 120, 40}, ElementType::kF32, Order::kDense);
      AttentionScratch scratch;
      AttentionBackward(
          context,
          {{part(problem.query, h), part(problem.key, h / 2), part(problem.value, h / 2)},
           part(forward.out, h),
           MakeView<const float>(&forward.lse[(b * 4 + h) * 100], 1, 1, 100),
           part(dout, h)},
          problem.options, scratch,
          {dquery.mutable_ref(), dkey.mutable_ref(), dvalue.mutable_ref()});
      dquery.ForEach([&](std::int64_t, std::int64_t, std::int64_t r, std::int64_t d) {
        ASSERT_EQ(dquery.Get(0, 0, r, d), whole.dquery.Get(b, h, r, d)) << r;
      });
    }
  }
}

// --- what is refused ---

TEST(AttentionBackward, RefusesWhatDoesNotFit) {
  std::mt19937 random(11);
  AttentionProblem problem({2, 4, 2, 5, 7, 8, 6}, random);
  Context context({.threads = 1});
  const AttentionResult forward = RunOperator(context, problem);
  const HeldTensor dout = RandomDout(problem, {}, random);
  const auto expect = [&](const std::string& part, const auto& change) {
    SCOPED_TRACE(part);
    GradientResult result{HeldTensor({2, 4, 5, 8}, ElementType::kF32, Order::kDense),
                          HeldTensor({2, 2, 7, 8}, ElementType::kF32, Order::kDense),
                          HeldTensor({2, 2, 7, 6}, ElementType::kF32, Order::kDense),
                          std::vector<float>(4)};
    AttentionBackwardInputs in{{problem.query.ref(), problem.key.ref(), problem.value.ref()},
                               forward.out.ref(),
                               MakeView(forward.lse.data(), 2, 4, 5),
                               dout.ref()};
    AttentionOptions options;
    AttentionGradients out{result.dquery.mutable_ref(), result.dkey.mutable_ref(),
                           result.dvalue.mutable_ref()};
    change(in, options, out, result);
    AttentionScratch scratch;
    try {
      AttentionBackward(context, in, options, scratch, out);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    for (const HeldTensor* tensor : {&result.dquery, &result.dkey, &result.dvalue}) {
      tensor->ExpectUnused();
    }
  };
  using In = AttentionBackwardInputs;
  using Options = AttentionOptions;
  using Out = AttentionGradients;
  expect("dout [2, 4, 5, 7], expected [2, 4, 5, 6]",
         [](In& in, Options&, Out&, GradientResult&) { in.dout.shape[3] = 7; });
  expect("out [2, 3, 5, 6], expected [2, 4, 5, 6]",
         [](In& in, Options&, Out&, GradientResult&) { in.out.shape[1] = 3; });
  expect("lse [2, 4, 6], expected [2, 4, 5]",
         [](In& in, Options&, Out&, GradientResult&) { in.lse.shape[2] = 6; });
  expect("lse has no data", [](In& in, Options&, Out&, GradientResult&) { in.lse.data = nullptr; });
  expect("dout has no data",
         [](In& in, Options&, Out&, GradientResult&) { in.dout.data = nullptr; });
  expect("key [2, 2, 7, 9], expected [2, Hkv, M, 8]",
         [](In& in, Options&, Out&, GradientResult&) { in.forward.key.shape[3] = 9; });
  expect("dquery [2, 4, 5, 9], expected [2, 4, 5, 8]",
         [](In&, Options&, Out& out, GradientResult&) { out.dquery.shape[3] = 9; });
  expect("dkey [2, 4, 7, 8], expected [2, 2, 7, 8]",
         [](In&, Options&, Out& out, GradientResult&) { out.dkey.shape[1] = 4; });
  expect("dvalue [2, 2, 7, 8], expected [2, 2, 7, 6]",
         [](In&, Options&, Out& out, GradientResult&) { out.dvalue.shape[3] = 8; });
  expect("dkey has a stride of 0 over 2 elements",
         [](In&, Options&, Out& out, GradientResult&) { out.dkey.strides[1] = 0; });
  expect("dsinks is wanted, but there are no sinks",
         [](In&, Options&, Out& out, GradientResult& result) {
           out.dsinks = MakeView(result.dsinks.data(), 4);
         });
  expect("dsinks [3], expected [4]", [](In&, Options& options, Out& out, GradientResult& result) {
    options.sinks = {0, 0, 0, 0};
    out.dsinks = MakeView(result.dsinks.data(), 3);
  });
  expect("3 sinks, expected one for each of 4",
         [](In&, Options& options, Out&, GradientResult&) { options.sinks = {0, 0, 0}; });
  expect("soft cap -1",
         [](In&, Options& options, Out&, GradientResult&) { options.soft_cap = -1; });
}

}  // namespace
}  // namespace foveate
