// The operator gives the same bits however the work is cut: by threads, alone or among others.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <vector>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "tests/support/attention_problem.h"

namespace foveate {
namespace {

using namespace testing;

struct Family {
  const char* name;
  PatternPtr pattern;
};

// Patterns that say the same of a position however many rows come with it.
std::vector<Family> Families() {
  return {{"full", nullptr},
          {"causal", Window(-1, 0)},
          {"window", Window(100, 0)},
          {"ahead", Window(30, 30)},
          {"sink", Or(Window(20, 0),
                      MakePredicate([](std::int64_t position,
                                       std::int64_t key) { return key < 4 && key <= position; },
                                    [](Range, std::int64_t keys) {
                                      return Coverage{{}, {{0, std::min<std::int64_t>(4, keys)}}};
                                    }))}};
}

// Soft cap, ALiBi, bias and sinks at once, or nothing of it.
void SetOptions(AttentionProblem& problem, bool all, std::mt19937& random) {
  if (!all) return;
  const AttentionSizes& s = problem.sizes;
  problem.options.soft_cap = 20;
  std::vector<float> bias(s.rows * s.keys);
  for (float& value : bias) {
    value = random() % 5 == 0 ? -std::numeric_limits<float>::infinity()
                              : static_cast<float>(random() % 100) / 50;
  }
  problem.SetBias({1, 1, s.rows, s.keys}, bias);
  for (std::int64_t h = 0; h < s.heads; ++h) {
    problem.options.alibi_slopes.push_back(0.5f / static_cast<float>(h + 1));
    problem.options.sinks.push_back(static_cast<float>(h) - 2);
  }
}

void ForEveryProblem(const std::function<void(AttentionProblem&, Isa)>& visit) {
  std::mt19937 random(1);
  for (const AttentionSizes& sizes :
       {AttentionSizes{2, 6, 2, 67, 330, 24, 40}, AttentionSizes{1, 9, 3, 150, 150, 64, 64},
        AttentionSizes{1, 14, 2, 3, 1000, 5, 7}, AttentionSizes{3, 1, 1, 1, 700, 128, 128}}) {
    for (const Family& family : Families()) {
      for (const bool all : {false, true}) {
        SCOPED_TRACE(fmt::format("{} N{} M{}{}", family.name, sizes.rows, sizes.keys,
                                 all ? " with options" : ""));
        AttentionProblem problem(sizes, random);
        problem.options.pattern = family.pattern;
        SetOptions(problem, all, random);
        for (const AttentionWay& way : AttentionWays()) {
          SCOPED_TRACE(ElementTypeName(way.type));
          problem.ConvertTo(way.type);
          visit(problem, way.isa);
        }
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(AttentionOperatorBits, ThreadsDoNotShow) {
  ForEveryProblem([](AttentionProblem& problem, Isa isa) {
    Context one({.threads = 1, .isa = isa});
    const AttentionResult expected = RunOperator(one, problem);
    for (const int threads : {2, 3, 7}) {
      Context context({.threads = threads, .isa = isa});
      ASSERT_EQ(RunOperator(context, problem), expected) << IsaName(isa) << " " << threads;
    }
  });
}

// The operator on a part of the problem: some batches, and rows up to the last.
AttentionResult RunPart(Context& context, const AttentionProblem& problem, std::int64_t batch,
                        std::int64_t batches, std::int64_t first_row) {
  const auto part = [&](const HeldTensor& tensor, std::int64_t from_row) {
    TensorRef<4> ref = tensor.ref();
    ref.data = ref.At(batch, 0, from_row);
    ref.shape[0] = batches;
    ref.shape[2] -= from_row;
    return ref;
  };
  const AttentionSizes& s = problem.sizes;
  const std::int64_t rows = s.rows - first_row;
  AttentionOptions options = problem.options;
  if (options.bias.data != nullptr) {
    options.bias.data = &options.bias(0, 0, first_row, 0);
    options.bias.shape[2] = rows;
  }
  AttentionResult result{
      HeldTensor({batches, s.heads, rows, s.value_dim}, ElementType::kF32, Order::kDense),
      std::vector<float>(batches * s.heads * rows)};
  AttentionScratch scratch;
  Attention(context, {part(problem.query, first_row), part(problem.key, 0), part(problem.value, 0)},
            options, scratch,
            {result.out.mutable_ref(), MakeView(result.lse.data(), batches, s.heads, rows)});
  return result;
}

// Equal to those rows of the whole, bit for bit.
void ExpectPartOf(const AttentionResult& part, const AttentionResult& whole, std::int64_t batch,
                  std::int64_t first_row) {
  const auto [batches, heads, rows, dim] = part.out.shape();
  const std::int64_t all_rows = whole.out.shape()[2];
  part.out.ForEach([&](std::int64_t b, std::int64_t h, std::int64_t r, std::int64_t d) {
    ASSERT_EQ(part.out.Get(b, h, r, d), whole.out.Get(batch + b, h, first_row + r, d))
        << "head " << h << " row " << first_row + r << " dimension " << d;
    ASSERT_EQ(part.lse[(b * heads + h) * rows + r],
              whole.lse[((batch + b) * heads + h) * all_rows + first_row + r]);
  });
}

TEST(AttentionOperatorBits, OneBatchAloneOrAmongOthers) {
  ForEveryProblem([](AttentionProblem& problem, Isa isa) {
    Context context({.threads = 2, .isa = isa});
    const AttentionResult whole = RunOperator(context, problem);
    for (std::int64_t batch = 0; batch < problem.sizes.batches; ++batch) {
      ExpectPartOf(RunPart(context, problem, batch, 1, 0), whole, batch, 0);
    }
  });
}

TEST(AttentionOperatorBits, LastRowsAloneOrAmongOthers) {
  ForEveryProblem([](AttentionProblem& problem, Isa isa) {
    const std::int64_t rows = problem.sizes.rows, batches = problem.sizes.batches;
    Context context({.threads = 3, .isa = isa});
    const AttentionResult whole = RunOperator(context, problem);
    for (const std::int64_t last : {1, 2, 9, 65}) {
      if (last > rows) continue;
      ExpectPartOf(RunPart(context, problem, 0, batches, rows - last), whole, 0, rows - last);
    }
  });
}

// The order of elements in memory, and what the scratch memory was used for before.
TEST(AttentionOperatorBits, StridesDoNotShow) {
  ForEveryProblem([](AttentionProblem& problem, Isa isa) {
    Context context({.threads = 2, .isa = isa});
    const AttentionResult expected = RunOperator(context, problem);
    for (const Order order : {Order::kRowsFirst, Order::kTransposed, Order::kGaps}) {
      for (HeldTensor* tensor : {&problem.query, &problem.key, &problem.value}) {
        HeldTensor moved(tensor->shape(), tensor->type(), order);
        moved.ForEach(
            [&](auto... at) { moved.Set(at..., static_cast<float>(tensor->Get(at...))); });
        *tensor = moved;
      }
      const AttentionResult result = RunOperator(context, problem, ElementType::kF32, order);
      ASSERT_EQ(result.out.Values(), expected.out.Values());
      ASSERT_EQ(result.lse, expected.lse);
    }
  });
}

// More patterns than the scratch memory remembers, in one call and in turn.
TEST(AttentionOperatorBits, AsManyPatternsAsHeads) {
  std::mt19937 random(9);
  AttentionProblem problem({2, 14, 2, 40, 200, 16, 16}, random);
  for (std::int64_t h = 0; h < 14; ++h) problem.options.head_patterns.push_back(Window(7 * h, 0));
  problem.options.head_patterns[5] = nullptr;
  Context context({.threads = 2});
  const AttentionResult result = RunOperator(context, problem);
  ExpectAnswer(result, problem.Solve());
  for (std::int64_t h = 0; h < 14; ++h) {
    AttentionProblem& one = problem;
    const AttentionOptions options = one.options;
    one.options = {.pattern = options.head_patterns[h]};
    const AttentionResult alone = RunOperator(context, one);
    one.options = options;
    for (std::int64_t r = 0; r < 40; ++r) {
      ASSERT_EQ(alone.out.Get(1, h, r, 3), result.out.Get(1, h, r, 3)) << h << " " << r;
    }
  }
}

}  // namespace
}  // namespace foveate
