// What choosing keys by content must find.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/throw.h"
#include "kernels/vector_ops.h"
#include "mechanisms/chunk_bounds.h"
#include "mechanisms/spec.h"
#include "mechanisms/top_scores.h"
#include "tests/support/isas.h"
#include "tests/support/random_values.h"

namespace foveate {
namespace {

using testing::Normal;

constexpr double kNoCut = std::numeric_limits<double>::quiet_NaN();

class SelectionTest : public ::testing::Test {
 protected:
  // Keys that each row sees, of one head.
  std::vector<std::vector<std::int64_t>> Seen(const std::string& spec, const std::vector<float>& q,
                                              const std::vector<float>& k, std::int64_t dim) {
    const AttentionShape shape{std::ssize(q) / dim, std::ssize(k) / dim};
    const AttentionSpec parsed = ParseAttentionSpec(spec);
    const auto in = SelectFrom(context_, DenseRef(q.data(), {1, 1, shape.queries, dim}),
                               DenseRef(k.data(), {1, 1, shape.keys, dim}), 0);
    const PatternPtr pattern = SelectPatterns(context_, parsed.Layer(0), *in)[0];
    std::vector<std::vector<std::int64_t>> seen(shape.queries);
    for (std::int64_t row = 0; row < shape.queries; ++row) {
      for (std::int64_t key = 0; key < shape.keys; ++key) {
        if (pattern->Attends(shape, row, key)) seen[row].push_back(key);
      }
    }
    return seen;
  }

  Context context_{{.threads = 2}};
};

TEST(TopScores, AreTheFirstOfAStableOrder) {
  std::mt19937 random(4);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float unit : {1.0f, 1e-45f, 1e-42f, 1e38f}) {
    for (const int kinds : {1, 3, 50, 100000}) {
      std::vector<float> scores(1 + random() % 3000);
      for (float& score : scores) {
        score = unit * static_cast<float>(static_cast<int>(random() % kinds) - kinds / 2);
        if (random() % 50 == 0) score = random() % 2 == 0 ? infinity : -infinity;
      }
      for (const std::int64_t count : {0, 1, 7, 400, 2999, 4000}) {
        std::vector<std::int64_t> expected(scores.size());
        std::iota(expected.begin(), expected.end(), 0);
        std::sort(expected.begin(), expected.end(), [&](std::int64_t a, std::int64_t b) {
          return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
        });
        expected.resize(std::min<std::size_t>(count, scores.size()));
        std::sort(expected.begin(), expected.end());
        for (const Isa isa : testing::DistinctIsas(VectorOpsFor)) {
          ASSERT_EQ(TopScores(isa, scores, count), expected)
              << unit << " " << kinds << " " << count << " " << IsaName(isa);
        }
      }
    }
  }
}

TEST(PickBounds, TakesCutsByWorthAndApart) {
  const std::vector<double> scores = {kNoCut, 0.1, 0.9, 0.8, 0.2, 0.9, 0.3, 0.7, 0.0, kNoCut};
  const auto bounds = [&](const CutRule& rule) { return PickBounds(scores, rule); };
  using Bounds = std::vector<std::int64_t>;
  EXPECT_EQ(bounds({.most = 1, .distance = 0}), (Bounds{0, 3, 10}));
  EXPECT_EQ(bounds({.most = 3, .distance = 0}), (Bounds{0, 3, 4, 6, 10}));
  EXPECT_EQ(bounds({.most = 3, .distance = 1}), (Bounds{0, 3, 6, 8, 10}));
  EXPECT_EQ(bounds({.most = 9, .distance = 0, .least = 0.8}), (Bounds{0, 3, 6, 10}));
  EXPECT_EQ(bounds({.most = 9, .distance = 0, .least = 1}), (Bounds{0, 10}));
  // The cut before the last 4 rows comes first, and nothing behind it.
  EXPECT_EQ(bounds({.most = 2, .distance = 0, .instructions = 4}), (Bounds{0, 3, 7, 10}));
  EXPECT_EQ(UniformBounds(10, 4), (Bounds{0, 4, 8, 10}));
}

// A key like the last query in surroundings that change slowly.
TEST_F(SelectionTest, HipFindsANeedleInSmoothSurroundings) {
  constexpr std::int64_t kDim = 16, kKeys = 2000;
  std::mt19937 random(5);
  for (const std::int64_t needle : {100, 777, 1500, 1850}) {
    std::vector<float> keys = Normal(kKeys * kDim, random);
    const std::vector<float> query = Normal(kDim, random);
    for (std::int64_t key = 1; key < kKeys; ++key) {
      for (std::int64_t d = 0; d < kDim; ++d) {
        float& value = keys[key * kDim + d];
        value = 0.95f * keys[(key - 1) * kDim + d] + 0.312f * value;
      }
    }
    // It grows and fades as the surroundings do.
    for (std::int64_t key = 0; key < kKeys; ++key) {
      const auto away = static_cast<float>(std::abs(key - needle));
      for (std::int64_t d = 0; d < kDim; ++d) {
        keys[key * kDim + d] += 4 * std::pow(0.95f, away) * query[d];
      }
    }
    const auto seen = Seen("hip:mask_k=64,block_k=8,sink=8,window=32", query, keys, kDim);
    EXPECT_TRUE(std::binary_search(seen[0].begin(), seen[0].end(), needle)) << needle;
    EXPECT_LE(seen[0].size(), 8u + 32 + 64);
  }
}

// With chunks of one key the choice is exactly the keys of the largest mean score.
TEST_F(SelectionTest, DhsaOfSingleKeysTakesTheBest) {
  constexpr std::int64_t kDim = 8, kKeys = 90, kBudget = 12;
  std::mt19937 random(6);
  const std::vector<float> q = Normal(kKeys * kDim, random), k = Normal(kKeys * kDim, random);
  const auto seen =
      Seen("dhsa:bounds=uniform,chunk=1,block_q=30,budget=12,local=0,global=0,instr=0,norm=mean", q,
           k, kDim);
  for (std::int64_t block = 0; block < 3; ++block) {
    const std::int64_t end = (block + 1) * 30;
    std::vector<double> scores(end);
    for (std::int64_t key = 0; key < end; ++key) {
      for (std::int64_t row = end - 30; row < end; ++row) {
        for (std::int64_t d = 0; d < kDim; ++d) {
          scores[key] += double{q[row * kDim + d]} * k[key * kDim + d];
        }
      }
    }
    std::vector<std::int64_t> order(end);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](std::int64_t a, std::int64_t b) { return scores[a] > scores[b]; });
    order.resize(kBudget);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(seen[end - 1], order) << block;
  }
}

// Keys that stay alike for 30 tokens at a time: cuts are found where they change, and a query finds
// the passage that it asks for.
TEST_F(SelectionTest, DhsaFindsPassages) {
  constexpr std::int64_t kDim = 16, kPassages = 10, kLength = 30;
  std::mt19937 random(7);
  const std::vector<float> topics = Normal(kPassages * kDim, random);
  std::vector<float> keys;
  for (std::int64_t key = 0; key < kPassages * kLength; ++key) {
    const std::vector<float> noise = Normal(kDim, random);
    for (std::int64_t d = 0; d < kDim; ++d) {
      keys.push_back(topics[key / kLength * kDim + d] + 0.05f * noise[d]);
    }
  }
  for (std::int64_t passage = 0; passage < kPassages - 1; ++passage) {
    const std::vector<float> query(&topics[passage * kDim], &topics[(passage + 1) * kDim]);
    const auto seen =
        Seen("dhsa:budget=30,local=0,global=0,instr=0,num_chunks=9", query, keys, kDim);
    const auto inside = std::count_if(seen[0].begin(), seen[0].end(),
                                      [&](std::int64_t key) { return key / kLength == passage; });
    EXPECT_GE(inside, 28) << passage;
  }
}

// Numbers that are none choose something, and no more.
TEST_F(SelectionTest, NansAndInfinitiesAreSurvived) {
  constexpr std::int64_t kDim = 8, kKeys = 300;
  std::mt19937 random(8);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const std::string spec :
       {"hip:mask_k=16,block_k=4,sink=0,window=8", "dhsa:budget=20,local=4,global=4,instr=0",
        "topk:topk=20,local=4", "block:block=8,topk=2,local=4"}) {
    for (const std::int64_t rows : {std::int64_t{1}, kKeys}) {
      std::vector<float> q = Normal(rows * kDim, random), k = Normal(kKeys * kDim, random);
      for (std::size_t i = 0; i < k.size(); i += 7) k[i] = i % 2 == 0 ? nan : infinity;
      for (std::size_t i = 0; i < q.size(); i += 31) q[i] = nan;
      EXPECT_EQ(std::ssize(Seen(spec, q, k, kDim)), rows) << spec;
    }
  }
}

TEST_F(SelectionTest, RefusesWhatDoesNotFit) {
  const auto message = [&](const std::string& spec) {
    try {
      Seen(spec, std::vector<float>(40), std::vector<float>(40), 4);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message("hip:mask_k=20,block_k=8"),
            "hip: mask_k=20 is no multiple of block_k=8; 24 would be");
  EXPECT_EQ(message("hip:sink=4"), "hip: sink=4 is no multiple of block_k=8; 8 would be");
  EXPECT_NE(message("dhsa:budget=70").find("less than local + global, 80"), std::string::npos);
  EXPECT_EQ(message("dhsa:bounds=0/5/5/10"),
            "dhsa: bounds[2] is 5, expected more than the one before");
  EXPECT_EQ(message("dhsa:bounds=0/5/11"), "dhsa: bounds end at 11, but the call has 10 keys");
  EXPECT_NE(message("hip & causal").find("hip is no pattern"), std::string::npos);
}

}  // namespace
}  // namespace foveate
