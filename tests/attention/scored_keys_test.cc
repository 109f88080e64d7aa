// A single row over listed keys whose scores are known gives what it gives over their pattern.
#include "attention/scored_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "attention/row_ranges.h"
#include "attention/selection.h"
#include "base/checked.h"
#include "kernels/attention_kernels.h"
#include "tests/support/isas.h"
#include "tests/support/random_values.h"

namespace foveate {
namespace {

using testing::Normal;

struct Sizes {
  std::int64_t heads, kv_heads, key_dim, value_dim, length;
};

class ScoredKeysTest : public ::testing::TestWithParam<Isa> {
 protected:
  void Fill(const Sizes& sizes, KvTypes types, std::mt19937& random) {
    sizes_ = sizes;
    const auto& [h, k, d, dv, n] = sizes;
    cache_.emplace(KvCacheOptions{.kv_heads = k,
                                  .key_dim = d,
                                  .value_dim = dv,
                                  .capacity = n,
                                  .key_type = types.key,
                                  .value_type = types.value});
    const std::vector<float> keys = Normal(n * k * d, random), values = Normal(n * k * dv, random);
    cache_->Append(context_, MakeView(keys.data(), n, k, d), MakeView(values.data(), n, k, dv));
    query_ = Normal(h * d, random);
  }

  View<const float, 3> Query() const {
    return MakeView(query_.data(), std::int64_t{1}, sizes_.heads, sizes_.key_dim);
  }

  // The keys with the scores that the cache gives them.
  ScoredKeys Score(std::int64_t kv_head, std::vector<std::int64_t> keys) {
    const auto in = SelectFrom(context_, *cache_, Query());
    const std::int64_t group = in->group();
    std::vector<float> packed(RoundUp(group, kRowStep) * in->dim), page(group * kPageKeys);
    for (std::int64_t head = 0; head < group; ++head) {
      AttentionKernelsFor(context_.isa())
          .pack_query(head, in->dim, &query_[(kv_head * group + head) * in->dim], 1, packed.data());
    }
    ScoredKeys scored{.keys = std::move(keys), .scores = {}};
    scored.scores.resize(DivideUp(std::ssize(scored.keys), kPageKeys) * group * kPageKeys);
    for (std::int64_t i = 0; i < std::ssize(scored.keys); ++i) {
      const std::int64_t key = scored.keys[i];
      in->Score(kv_head, key / kPageKeys, packed.data(), group, page.data());
      for (std::int64_t head = 0; head < group; ++head) {
        scored.scores[(i / kPageKeys * group + head) * kPageKeys + i % kPageKeys] =
            page[head * kPageKeys + key % kPageKeys];
      }
    }
    return scored;
  }

  std::vector<float> Run(AttentionOptions options, const std::vector<PatternPtr>& patterns) {
    for (const PatternPtr& pattern : patterns) {
      options.head_patterns.insert(options.head_patterns.end(), sizes_.heads / sizes_.kv_heads,
                                   pattern);
    }
    std::vector<float> out(sizes_.heads * sizes_.value_dim);
    Attend(context_, *cache_, Query(), options, scratch_,
           MakeView(out.data(), std::int64_t{1}, sizes_.heads, sizes_.value_dim));
    return out;
  }

  std::vector<std::int64_t> RandomKeys(std::mt19937& random) const {
    std::vector<std::int64_t> keys(sizes_.length);
    std::iota(keys.begin(), keys.end(), 0);
    std::shuffle(keys.begin(), keys.end(), random);
    keys.resize(1 + random() % sizes_.length);
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  Context context_{{.threads = 2, .isa = GetParam()}};
  AttentionScratch scratch_;
  Sizes sizes_{};
  std::optional<KvCache> cache_;
  std::vector<float> query_;
};

TEST_P(ScoredKeysTest, GiveWhatTheirPatternGives) {
  std::mt19937 random(1);
  for (const Sizes& sizes : {Sizes{9, 3, 64, 64, 700}, Sizes{4, 1, 96, 32, 130},
                             Sizes{2, 2, 32, 64, 64}, Sizes{14, 2, 32, 32, 300}}) {
    for (const KvTypes types : {KvTypes{KvType::kF32, KvType::kF32},
                                {KvType::kF16, KvType::kBF16},
                                {KvType::kQ8_0, KvType::kQ8_0},
                                {KvType::kF16, KvType::kQ4_0}}) {
      SCOPED_TRACE(std::to_string(sizes.heads) + " heads, " + KvTypesName(types));
      Fill(sizes, types, random);
      std::vector<PatternPtr> listed, ranges;
      for (std::int64_t kv_head = 0; kv_head < sizes.kv_heads; ++kv_head) {
        listed.push_back(MakeScoredKeys(Score(kv_head, RandomKeys(random))));
        ranges.push_back(MakeRowRanges({{1, listed.back()->Cover({1, sizes.length}, {0, 1}).all}}));
        for (std::int64_t key = 0; key < sizes.length; key += 64) {
          ASSERT_EQ(listed.back()->Bits({1, sizes.length}, 0, key),
                    ranges.back()->Bits({1, sizes.length}, 0, key));
        }
      }
      for (const float cap : {0.0f, 5.0f}) {
        const AttentionOptions options{.soft_cap = cap};
        const std::vector<float> actual = Run(options, listed), expected = Run(options, ranges);
        for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 2e-5);
      }
    }
  }
}

// Equal scores: the mean of the listed values, whatever the keys are.
TEST_P(ScoredKeysTest, ReadNoKeys) {
  std::mt19937 random(2);
  Fill({2, 1, 32, 16, 200}, {KvType::kF32, KvType::kF32}, random);
  ScoredKeys scored = Score(0, RandomKeys(random));
  std::fill(scored.scores.begin(), scored.scores.end(), 3.0f);
  const PatternPtr ranges =
      MakeRowRanges({{1, MakeScoredKeys(scored)->Cover({1, 200}, {0, 1}).all}});
  const std::vector<float> actual = Run({}, {MakeScoredKeys(scored)});
  std::fill(query_.begin(), query_.end(), 0.0f);
  const std::vector<float> expected = Run({}, {ranges});
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 1e-6);
}

// What depends on the place of a key needs its pattern.
TEST_P(ScoredKeysTest, AlibiLooksAtPlaces) {
  std::mt19937 random(3);
  Fill({2, 1, 32, 16, 200}, {KvType::kF32, KvType::kF32}, random);
  const PatternPtr listed = MakeScoredKeys(Score(0, RandomKeys(random)));
  const PatternPtr ranges = MakeRowRanges({{1, listed->Cover({1, 200}, {0, 1}).all}});
  const AttentionOptions options{.alibi_slopes = {0.1f, 0.02f}};
  EXPECT_EQ(Run(options, {listed}), Run(options, {ranges}));
}

INSTANTIATE_TEST_SUITE_P(Isas, ScoredKeysTest,
                         ::testing::ValuesIn(testing::DistinctIsas(AttentionKernelsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
