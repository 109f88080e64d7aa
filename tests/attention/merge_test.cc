// Attention over parts of the keys, merged, is attention over all of them.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "base/throw.h"
#include "tests/support/attention_problem.h"

namespace foveate {
namespace {

using namespace testing;

// The result over some keys.
struct Partial {
  AttentionSizes sizes;
  std::vector<float> out, lse;

  explicit Partial(const AttentionSizes& s)
      : sizes(s),
        out(s.batches * s.heads * s.rows * s.value_dim),
        lse(s.batches * s.heads * s.rows) {}

  AttentionOutputs Outputs() {
    const AttentionSizes& s = sizes;
    return {RefOf(MakeView(out.data(), s.batches, s.heads, s.rows, s.value_dim)),
            MakeView(lse.data(), s.batches, s.heads, s.rows)};
  }
  View<float, 2> Rows() { return MakeView(out.data(), std::ssize(lse), sizes.value_dim); }
  View<float, 1> Lse() { return MakeView(lse.data(), std::ssize(lse)); }
};

// Over keys [begin, end) of the problem, its pattern counting all keys.
Partial Over(Context& context, const AttentionProblem& problem, std::int64_t begin,
             std::int64_t end) {
  Partial partial(problem.sizes);
  const auto part = [&](const HeldTensor& tensor) {
    TensorRef<4> ref = tensor.ref();
    ref.data = ref.At(0, 0, begin);
    ref.shape[2] = end - begin;
    return ref;
  };
  AttentionOptions options = problem.options;
  const std::int64_t moved = problem.sizes.keys - (end - begin);
  const PatternPtr whole = options.pattern;
  options.pattern = MakePredicate(
      [=, shape = problem.shape()](std::int64_t position, std::int64_t key) {
        return whole->Attends(shape, shape.Row(position + moved), key + begin);
      },
      [](Range, std::int64_t keys) { return Coverage{{}, {{0, keys}}}; });
  AttentionScratch scratch;
  Attention(context, {problem.query.ref(), part(problem.key), part(problem.value)}, options,
            scratch, partial.Outputs());
  return partial;
}

void Merge(Partial more, Partial& total) {
  MergeAttention(more.Rows(), more.Lse(), total.Rows(), total.Lse());
}

void ExpectNear(const Partial& partial, const reference::AttentionAnswer& answer) {
  const std::int64_t dim = partial.sizes.value_dim;
  for (std::size_t i = 0; i < partial.out.size(); ++i) {
    ASSERT_NEAR(partial.out[i], answer.out[i], answer.bound[i / dim]) << i;
  }
  for (std::size_t i = 0; i < partial.lse.size(); ++i) {
    if (std::isinf(answer.lse[i])) {
      ASSERT_EQ(partial.lse[i], answer.lse[i]) << i;
    } else {
      ASSERT_NEAR(partial.lse[i], answer.lse[i], answer.lse_bound[i]) << i;
    }
  }
}

TEST(MergeAttention, DisjointKeysInEitherOrder) {
  std::mt19937 random(1);
  Context context({.threads = 2});
  for (const PatternPtr& pattern : {Window(-1, -1), Window(-1, 0), Window(50, 0)}) {
    AttentionProblem problem({2, 4, 2, 90, 150, 16, 24}, random);
    problem.options.pattern = pattern;
    const reference::AttentionAnswer answer = problem.Solve();
    for (const std::int64_t cut : {0, 1, 64, 100, 149, 150}) {
      for (const bool swapped : {false, true}) {
        Partial first = Over(context, problem, 0, cut);
        Partial second = Over(context, problem, cut, 150);
        Partial& total = swapped ? first : second;
        Merge(swapped ? second : first, total);
        ExpectNear(total, answer);
      }
    }
  }
}

TEST(MergeAttention, ManyParts) {
  std::mt19937 random(2);
  Context context({.threads = 1});
  AttentionProblem problem({1, 2, 1, 20, 200, 16, 16}, random);
  problem.key.Randomise(random, 0, 30);  // nearly one-hot
  problem.options.pattern = Window(-1, 0);
  Partial total = Over(context, problem, 0, 3);
  for (std::int64_t begin = 3; begin < 200; begin += 7) {
    Merge(Over(context, problem, begin, std::min<std::int64_t>(begin + 7, 200)), total);
  }
  ExpectNear(total, problem.Solve());
}

// A part that saw nothing changes no bit, whatever lies in its rows; nor does it matter as the
// first.
TEST(MergeAttention, AnEmptyPartIsTheIdentity) {
  std::mt19937 random(3);
  Context context({.threads = 1});
  AttentionProblem problem({1, 3, 1, 10, 30, 8, 5}, random);
  problem.options.pattern = Window(-1, 0);
  Partial some = Over(context, problem, 0, 30);
  const std::vector<float> out = some.out, lse = some.lse;
  for (const float content : {0.0f, std::numeric_limits<float>::quiet_NaN()}) {
    Partial nothing(problem.sizes);
    std::ranges::fill(nothing.out, content);
    std::ranges::fill(nothing.lse, -std::numeric_limits<float>::infinity());
    Merge(nothing, some);
    EXPECT_EQ(some.out, out);
    EXPECT_EQ(some.lse, lse);
    Merge(some, nothing);
    EXPECT_EQ(nothing.out, out);
    EXPECT_EQ(nothing.lse, lse);
  }
}

TEST(MergeAttention, TwoEmptyPartsStayEmpty) {
  Partial one({1, 1, 1, 2, 1, 1, 3}), other({1, 1, 1, 2, 1, 1, 3});
  for (Partial* partial : {&one, &other}) {
    std::ranges::fill(partial->lse, -std::numeric_limits<float>::infinity());
  }
  Merge(one, other);
  EXPECT_EQ(other.out, std::vector<float>(6));
  for (const float lse : other.lse) EXPECT_EQ(lse, -std::numeric_limits<float>::infinity());
}

TEST(MergeAttention, ShapesMustAgree) {
  Partial one({1, 2, 1, 3, 1, 1, 4}), wider({1, 2, 1, 3, 1, 1, 5}), longer({1, 2, 1, 4, 1, 1, 4});
  EXPECT_THROW(Merge(wider, one), Error);
  EXPECT_THROW(Merge(longer, one), Error);
  EXPECT_THROW(MergeAttention(one.Rows(), longer.Lse(), one.Rows(), one.Lse()), Error);
  EXPECT_THROW(MergeAttention(one.Rows(), one.Lse(), one.Rows(), longer.Lse()), Error);
}

}  // namespace
}  // namespace foveate
