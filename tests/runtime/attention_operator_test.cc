#include "foveate/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "attention/attention.h"
#include "mechanisms/spec.h"

namespace foveate {
namespace {

constexpr std::int64_t kHeads = 4, kKvHeads = 2, kRows = 37, kKeys = 150, kDim = 24;

std::vector<float> Random(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

struct Tensors {
  std::vector<float> q = Random(kHeads * kRows * kDim, 1);
  std::vector<float> k = Random(kKvHeads * kKeys * kDim, 2);
  std::vector<float> v = Random(kKvHeads * kKeys * kDim, 3);
  std::vector<float> out = std::vector<float>(q.size());
  std::vector<float> lse = std::vector<float>(kHeads * kRows);

  void Run(AttentionOperator& attention, const ScoreOptions& scores = {}) {
    attention.Run(DenseRef(q.data(), {1, kHeads, kRows, kDim}),
                  DenseRef(k.data(), {1, kKvHeads, kKeys, kDim}),
                  DenseRef(v.data(), {1, kKvHeads, kKeys, kDim}),
                  DenseRef(out.data(), {1, kHeads, kRows, kDim}),
                  DenseRef(lse.data(), {1, kHeads, kRows}), scores);
  }
};

TEST(AttentionOperator, IsTheOperatorWithEveryOption) {
  const std::vector<float> bias = Random(kRows * kKeys, 4);
  const std::vector<float> slopes = {0.5f, 0.25f, 0.125f, 0};
  const std::vector<float> sinks = {0, -1, 1, -std::numeric_limits<float>::infinity()};
  const std::string text = "0=full;1=heads(0-1=window:left=20,right=0;2-=causal)";

  Tensors own;
  AttentionOperator attention(text, {.layer = 1, .threads = 2});
  own.Run(attention, {.scale = 0.3f,
                      .soft_cap = 5,
                      .alibi_slopes = slopes,
                      .bias = DenseRef(bias.data(), {1, 1, kRows, kKeys}),
                      .sinks = sinks});

  Tensors expected;
  Context context;
  AttentionScratch scratch;
  const auto ref = [](auto& values, std::int64_t heads, std::int64_t rows) {
    return RefOf(MakeView(values.data(), 1, heads, rows, kDim));
  };
  Attention(context,
            {ref(std::as_const(expected.q), kHeads, kRows),
             ref(std::as_const(expected.k), kKvHeads, kKeys),
             ref(std::as_const(expected.v), kKvHeads, kKeys)},
            {.head_patterns = HeadPatterns(ParseAttentionSpec(text), 1, kHeads),
             .scale = 0.3f,
             .soft_cap = 5,
             .alibi_slopes = slopes,
             .bias = MakeView(bias.data(), 1, 1, kRows, kKeys),
             .sinks = sinks},
            scratch,
            {ref(expected.out, kHeads, kRows), MakeView(expected.lse.data(), 1, kHeads, kRows)});
  EXPECT_EQ(own.out, expected.out);
  EXPECT_EQ(own.lse, expected.lse);
}

// Each half of the keys by itself, then merged.
TEST(AttentionOperator, PartsOverDisjointKeysMerge) {
  Tensors whole, part;
  AttentionOperator attention("full");
  whole.Run(attention);
  const auto over_keys = [&](std::int64_t begin, std::int64_t end) {
    const auto keys = [&](const std::vector<float>& values) {
      TensorRef<4> ref = DenseRef(values.data(), {1, kKvHeads, kKeys, kDim});
      ref.data = ref.At(0, 0, begin);
      ref.shape[2] = end - begin;
      return ref;
    };
    attention.Run(DenseRef(part.q.data(), {1, kHeads, kRows, kDim}), keys(part.k), keys(part.v),
                  DenseRef(part.out.data(), {1, kHeads, kRows, kDim}),
                  DenseRef(part.lse.data(), {1, kHeads, kRows}));
  };
  over_keys(100, kKeys);
  const std::vector<float> more = part.out, more_lse = part.lse;
  over_keys(0, 100);
  const auto merge = [&](std::int64_t heads) {
    MergeAttention(DenseRef(more.data(), {1, heads, kRows, kDim}),
                   DenseRef(more_lse.data(), {1, heads, kRows}),
                   DenseRef(part.out.data(), {1, kHeads, kRows, kDim}),
                   DenseRef(part.lse.data(), {1, kHeads, kRows}));
  };
  EXPECT_THROW(merge(kHeads - 1), Error);
  merge(kHeads);
  for (std::size_t i = 0; i < whole.out.size(); ++i) {
    ASSERT_NEAR(part.out[i], whole.out[i], 1e-6) << i;
  }
  for (std::size_t i = 0; i < whole.lse.size(); ++i) {
    ASSERT_NEAR(part.lse[i], whole.lse[i], 1e-6) << i;
  }
}

TEST(AttentionOperator, RefusesWhatItCannotDo) {
  EXPECT_THROW(AttentionOperator("windw:left=3"), Error);
  EXPECT_THROW(AttentionOperator("0=full", {.layer = 1}), Error);
  EXPECT_THROW(AttentionOperator("full", {.isa = "none"}), Error);
  Tensors tensors;
  AttentionOperator attention("full");
  TensorRef<4> bias = DenseRef(tensors.q.data(), {1, 1, 1, kKeys});
  bias.type = ElementType::kF16;
  try {
    tensors.Run(attention, {.bias = bias});
    FAIL() << "a bias in f16 was taken";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "attention: bias is f16, expected f32");
  }
}

}  // namespace
}  // namespace foveate
