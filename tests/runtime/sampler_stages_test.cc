// The stages against the golden file, and their properties on random logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "foveate/error.h"
#include "runtime/sampler_chain.h"
#include "runtime/sampler_weights.h"

namespace foveate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(std::int64_t n, std::uint32_t seed, float spread = 3) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

std::vector<TokenId> Ids(const Candidates& candidates) {
  std::vector<TokenId> ids;
  for (std::int64_t i = 0; i < candidates.size(); ++i) ids.push_back(candidates.id(i));
  return ids;
}

// The `count` best ids in rank order, by a full sort.
std::vector<TokenId> SortedIds(const std::vector<float>& logits) {
  std::vector<TokenId> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<TokenId>(i);
  std::sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  return ids;
}

std::vector<TokenId> TopIds(const std::vector<float>& logits, std::int64_t count) {
  std::vector<TokenId> ids = SortedIds(logits);
  ids.resize(std::min<std::size_t>(ids.size(), count));
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<StageSpec> StagesOf(const nlohmann::json& chain) {
  std::vector<StageSpec> stages;
  for (const nlohmann::json& entry : chain) {
    StageSpec& stage = stages.emplace_back(StageSpec{entry[0], {}});
    if (stage.name == "typical") stage.name = "typical_p";
    if (stage.name == "logit_bias") {
      for (const auto& pair : entry[1]) {
        stage.parameters.insert(stage.parameters.end(), {pair[0], pair[1]});
      }
    } else {
      for (std::size_t i = 1; i < entry.size(); ++i) stage.parameters.push_back(entry[i]);
    }
  }
  return stages;
}

TEST(SamplerStages, Golden) {
  std::ifstream file(FOVEATE_TEST_DATA "/sampling.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  ASSERT_EQ(golden["cases"].size(), 30u);
  for (const nlohmann::json& item : golden["cases"]) {
    SCOPED_TRACE(item["chain"].dump());
    const auto logits = item["logits"].get<std::vector<float>>();
    const auto history = item["previous"].get<std::vector<TokenId>>();
    Candidates candidates;
    candidates.Reset(logits);
    Random random(1);
    SamplerChain chain(StagesOf(item["chain"]), {.vocabulary = std::ssize(logits)});
    chain.Apply(candidates, history, random);

    std::map<TokenId, double> expected;
    for (const auto& pair : item["result"]) expected[pair[0]] = pair[1];
    std::vector<TokenId> expected_ids;
    for (const auto& [id, p] : expected) expected_ids.push_back(id);
    ASSERT_EQ(Ids(candidates), expected_ids);
    const std::span<const float> weights = candidates.Weights();
    const double total = SumWeights(weights);
    for (std::int64_t i = 0; i < candidates.size(); ++i) {
      EXPECT_NEAR(weights[i] / total, expected[candidates.id(i)], 1e-5) << candidates.id(i);
    }
  }
}

TEST(SamplerStages, TopKTakesTheBestOnesAtEverySize) {
  for (const std::int64_t n : {1, 2, 63, 64, 65, 1000, 5000}) {
    std::vector<float> logits = RandomLogits(n, 7);
    for (std::int64_t i = 0; i < n; i += 3) logits[i] = std::round(logits[i]);  // ties
    for (const std::int64_t k : {1, 2, 40, 64, 77, 900, 6000}) {
      Candidates candidates;
      candidates.Reset(logits);
      TopK(candidates, k);
      EXPECT_EQ(Ids(candidates), TopIds(logits, k)) << n << " " << k;
      if (k > 2) {  // a second cut works on a list that is no longer the whole vocabulary
        TopK(candidates, k - 1);
        EXPECT_EQ(Ids(candidates), TopIds(logits, k - 1)) << n << " " << k;
      }
    }
  }
}

TEST(SamplerStages, TopKIsMonotone) {
  const std::vector<float> logits = RandomLogits(3000, 8);
  std::vector<TokenId> smaller;
  for (std::int64_t k = 1; k < 3000; k += 97) {
    Candidates candidates;
    candidates.Reset(logits);
    TopK(candidates, k);
    const std::vector<TokenId> ids = Ids(candidates);
    EXPECT_EQ(std::ssize(ids), k);
    EXPECT_TRUE(std::includes(ids.begin(), ids.end(), smaller.begin(), smaller.end()));
    smaller = ids;
  }
}

TEST(SamplerStages, EqualLogitsGoByLowestId) {
  const std::vector<float> logits(200, 1.5f);
  Candidates candidates;
  candidates.Reset(logits);
  EXPECT_EQ(candidates.Best().id, 0);
  TopK(candidates, 3);
  EXPECT_EQ(Ids(candidates), (std::vector<TokenId>{0, 1, 2}));
  candidates.Reset(logits);
  TopP(candidates, 0.02);  // 4 of 200
  EXPECT_EQ(Ids(candidates), (std::vector<TokenId>{0, 1, 2, 3}));
  candidates.Reset(logits);
  Temperature(candidates, 0);
  EXPECT_EQ(Ids(candidates), (std::vector<TokenId>{0}));
}

// Sorts everything and adds in f64.
std::vector<TokenId> NaiveTopP(const std::vector<float>& logits, double p, std::int64_t min_keep) {
  const std::vector<TokenId> ids = SortedIds(logits);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - logits[ids[0]]);
  double sum = 0;
  std::vector<TokenId> kept;
  for (const TokenId id : ids) {
    if (std::ssize(kept) >= min_keep && sum >= p * total) break;
    kept.push_back(id);
    sum += std::exp(static_cast<double>(logits[id]) - logits[ids[0]]);
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

TEST(SamplerStages, TopPMatchesAFullSort) {
  for (const std::int64_t n : {1, 5, 33, 200, 5000}) {
    for (const float spread : {0.01f, 1.0f, 6.0f}) {
      const std::vector<float> logits = RandomLogits(n, 11, spread);
      for (const double p : {0.0, 0.001, 0.3, 0.9, 0.99}) {
        for (const std::int64_t min_keep : {1, 4, 100}) {
          Candidates candidates;
          candidates.Reset(logits);
          TopP(candidates, p, min_keep);
          EXPECT_EQ(Ids(candidates), NaiveTopP(logits, p, min_keep))
              << n << " " << spread << " " << p << " " << min_keep;
        }
      }
    }
  }
}

TEST(SamplerStages, TypicalKeepsAPrefixOfTheMostTypical) {
  const std::vector<float> logits = RandomLogits(400, 12);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  double entropy = 0;
  std::vector<double> p(logits.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = std::exp(static_cast<double>(logits[i])) / total;
    entropy -= p[i] * std::log(p[i]);
  }
  std::vector<TokenId> order(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) order[i] = static_cast<TokenId>(i);
  std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return std::abs(-std::log(p[a]) - entropy) < std::abs(-std::log(p[b]) - entropy);
  });
  for (const double limit : {0.05, 0.5, 0.95}) {
    std::vector<TokenId> expected;
    double sum = 0;
    for (std::size_t i = 0; i < order.size() && sum <= limit; ++i) {
      expected.push_back(order[i]);
      sum += p[order[i]];
    }
    std::sort(expected.begin(), expected.end());
    Candidates candidates;
    candidates.Reset(logits);
    TypicalP(candidates, limit);
    EXPECT_EQ(Ids(candidates), expected) << limit;
    candidates.Reset(logits);
    TypicalP(candidates, limit, 390);
    EXPECT_GE(candidates.size(), 390);
  }
}

TEST(SamplerStages, MinKeepHolds) {
  const std::vector<float> logits = RandomLogits(500, 13, 8);
  for (const std::int64_t min_keep : {1, 2, 17, 500, 1000}) {
    const std::int64_t least = std::min<std::int64_t>(min_keep, 500);
    Candidates candidates;
    candidates.Reset(logits);
    MinP(candidates, 1, min_keep);
    EXPECT_EQ(Ids(candidates), TopIds(logits, least));
    candidates.Reset(logits);
    TypicalP(candidates, 0, min_keep);
    EXPECT_EQ(candidates.size(), least);
  }
}

TEST(SamplerStages, BansAreForGood) {
  std::vector<float> logits = RandomLogits(100, 14);
  logits[3] = -kInfinity;
  for (const double temperature : {1e-40, 0.01, 10.0}) {
    Candidates candidates;
    candidates.Reset(logits);
    ApplyLogitBias(candidates, std::vector<LogitBias>{{5, -100}, {3, 50.0}, {7, 1.0}});
    Temperature(candidates, temperature);
    for (std::int64_t i = 0; i < candidates.size(); ++i) {
      const bool banned = candidates.id(i) == 3 || candidates.id(i) == 5;
      EXPECT_TRUE(!banned || candidates.Weights()[i] == 0);
    }
    EXPECT_FALSE(std::isinf(candidates.MaxLogit()));
    for (double u = 0; u < 1; u += 0.001) {
      const TokenId id = Draw(candidates, u).id;
      EXPECT_NE(id, 3);
      EXPECT_NE(id, 5);
    }
  }
}

TEST(SamplerStages, XtcKeepsTheLeastLikelyTopChoice) {
  const std::vector<float> logits = {3, 1, 3.5, 2.9, -4, 0};  // p = .27 .04 .44 .24 .0 .01
  Random random(1);
  Candidates candidates;
  candidates.Reset(logits);
  Xtc(candidates, 1, 0.1, random);
  EXPECT_EQ(Ids(candidates), (std::vector<TokenId>{1, 3, 4, 5}));
  candidates.Reset(logits);
  Xtc(candidates, 1, 0.4, random);  // only one: stays
  EXPECT_EQ(candidates.size(), 6);

  Random untouched(2);
  Random same(2);
  candidates.Reset(logits);
  Xtc(candidates, 0, 0.1, untouched);
  Xtc(candidates, 1, 0.51, untouched);
  EXPECT_EQ(candidates.size(), 6);
  EXPECT_EQ(untouched.Next(), same.Next());

  int cut = 0;
  for (int i = 0; i < 10000; ++i) {
    candidates.Reset(logits);
    Xtc(candidates, 0.3, 0.1, random);
    cut += candidates.size() < 6;
  }
  EXPECT_NEAR(cut, 3000, 200);  // 4.4 standard deviations
}

TEST(SamplerStages, ExtremeLogitsStayNumbers) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const std::vector<float> logits = {kMax, -kMax, 0, -kInfinity, kMax / 2, 1e30f};
  Candidates candidates;
  candidates.Reset(logits);
  TokenTally tally(6);
  ApplyPenalties(candidates, std::vector<TokenId>{0, 1, 3, 5}, {-1, 1e-20, 2, -2}, tally);
  TopNSigma(candidates, 5);
  TypicalP(candidates, 0.99);
  TopP(candidates, 0.99);
  DynamicTemperature(candidates, 0.5, 0.2, 1);
  Temperature(candidates, 1e-20);
  EXPECT_EQ(Draw(candidates, 0.5).id, 0);
}

TEST(SamplerStages, PenaltiesIgnoreForeignIdsAndLeaveNoTrace) {
  const std::vector<float> logits = {1, 2, -3, 4};
  TokenTally tally(4);
  for (int round = 0; round < 2; ++round) {
    Candidates candidates;
    candidates.Reset(logits);
    ApplyPenalties(candidates, std::vector<TokenId>{1, -5, 2, 2, 99, 1, 2}, {6, 2, 0.5, 0.25},
                   tally);
    const std::vector<float> changed(candidates.logits().begin(), candidates.logits().end());
    EXPECT_EQ(changed, (std::vector<float>{1, 1 - 0.5 - 0.25, -6 - 1.5 - 0.25, 4}));
  }
}

TEST(SamplerWeights, ExpIsAccurateAndPickSkipsZeros) {
  std::vector<float> logits;
  for (float x = 0; x > -85; x -= 0.01f) logits.push_back(x);
  logits.push_back(-200);
  logits.push_back(-kInfinity);
  std::vector<float> weights(logits.size());
  ShiftedExp(logits, 0, weights);
  for (std::size_t i = 0; i + 2 < logits.size(); ++i) {
    const double exact = std::exp(static_cast<double>(logits[i]));
    ASSERT_NEAR(weights[i] / exact, 1, 4e-7) << logits[i];
  }
  EXPECT_EQ(weights[logits.size() - 2], 0);
  EXPECT_EQ(weights[logits.size() - 1], 0);
  std::vector<float> sparse(300, 0.0f);
  sparse[70] = 0.25f;
  sparse[200] = 0.75f;
  EXPECT_EQ(PickWeighted(sparse, 0), 70);
  EXPECT_EQ(PickWeighted(sparse, 0.249), 70);
  EXPECT_EQ(PickWeighted(sparse, 0.251), 200);
  EXPECT_EQ(PickWeighted(sparse, 0x1.fffffffffffffp-1), 200);
}

TEST(SamplerWeights, BrokenLogitsAreNamed) {
  for (const std::int64_t n : {3, 64, 100}) {
    for (const float broken : {std::nanf(""), kInfinity}) {
      std::vector<float> logits(n, 1.0f);
      logits[n - 2] = broken;
      Candidates candidates;
      try {
        candidates.Reset(logits);
        ADD_FAILURE() << n;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kNumerical);
        EXPECT_NE(std::string(error.what()).find(std::to_string(n - 2)), std::string::npos);
      }
    }
  }
}

}  // namespace
}  // namespace foveate
