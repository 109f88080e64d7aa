// Draws: frequencies, seeds, mirostat, log-probabilities, and what is refused.
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "foveate/error.h"
#include "runtime/sampler_weights.h"
#include "tests/support/build_kind.h"

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

std::vector<TokenId> SampleMany(const SamplingOptions& options, std::uint64_t sequence,
                                std::int64_t count) {
  const std::vector<float> logits = RandomLogits(1000, 3, 1);
  Sampler sampler(options, {.vocabulary = 1000, .sequence = sequence});
  std::vector<TokenId> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(sampler.Sample(logits, ids).id);
  return ids;
}

void ExpectRefused(ErrorCode code, const std::string& text, const std::function<void()>& run) {
  try {
    run();
    ADD_FAILURE() << "accepted, expected: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

// Draws 100,000 tokens and compares their counts with the probabilities that the chain left.
void ExpectFrequencies(const SamplingOptions& options, std::int64_t vocabulary, float spread) {
  constexpr std::int64_t kDraws = 100000;
  const std::vector<float> logits = RandomLogits(vocabulary, 21, spread);
  Candidates candidates;
  candidates.Reset(logits);
  Random unused(0);
  SamplerChain(StagesFromOptions(options), {.vocabulary = vocabulary})
      .Apply(candidates, {}, unused);
  const std::span<const float> weights = candidates.Weights();
  const double total = SumWeights(weights);

  Sampler sampler(options, {.vocabulary = vocabulary});
  std::map<TokenId, std::int64_t> counts;
  for (std::int64_t i = 0; i < kDraws; ++i) ++counts[sampler.Sample(logits, {}).id];

  double chi_square = 0;
  double rare = 0;  // candidates expected fewer than 10 times count as one cell
  std::int64_t rare_count = 0;
  std::int64_t cells = 0;
  std::int64_t seen = 0;
  for (std::int64_t i = 0; i < candidates.size(); ++i) {
    const double expected = weights[i] / total * kDraws;
    const std::int64_t count = counts[candidates.id(i)];
    seen += count;
    if (expected < 10) {
      rare += expected;
      rare_count += count;
      continue;
    }
    chi_square += (count - expected) * (count - expected) / expected;
    ++cells;
  }
  if (rare >= 10) {
    chi_square += (rare_count - rare) * (rare_count - rare) / rare;
    ++cells;
  }
  EXPECT_EQ(seen, kDraws);  // nothing outside the candidates
  ASSERT_GT(cells, 2);
  // Wilson and Hilferty's normal approximation; 3.72 standard deviations: p = 1e-4.
  const auto degrees = static_cast<double>(cells - 1);
  const double spread_of_z = 2 / (9 * degrees);
  const double z = (std::cbrt(chi_square / degrees) - (1 - spread_of_z)) / std::sqrt(spread_of_z);
  EXPECT_LT(std::abs(z), 3.72) << "chi square " << chi_square << " with " << degrees;
}

TEST(Sampler, FrequenciesMatchTheDefaultChain) { ExpectFrequencies({.seed = 1}, 500, 1); }

TEST(Sampler, FrequenciesMatchTheWholeVocabulary) {
  const SamplingOptions all = {.temperature = 1.3, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 2};
  ExpectFrequencies(all, 333, 1);
}

TEST(Sampler, SeedsReproduceAndSequencesDiffer) {
  const SamplingOptions options = {.temperature = 1, .seed = 42};
  const std::vector<TokenId> first = SampleMany(options, 0, 200);
  EXPECT_EQ(first, SampleMany(options, 0, 200));
  EXPECT_NE(first, SampleMany(options, 1, 200));
  EXPECT_NE(first, SampleMany({.temperature = 1, .seed = 43}, 0, 200));
}

TEST(Sampler, RandomSeedIsReportedAndReproduces) {
  const std::vector<float> logits = RandomLogits(100, 3, 0.1f);
  Sampler random({}, {.vocabulary = 100});
  Sampler other({}, {.vocabulary = 100});
  EXPECT_NE(random.seed(), other.seed());
  Sampler again({.seed = random.seed()}, {.vocabulary = 100});
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(random.Sample(logits, {}).id, again.Sample(logits, {}).id);
  }
}

TEST(Sampler, StreamsStayAlignedWhenOneCandidateIsLeft) {
  const std::vector<float> logits = RandomLogits(100, 3, 0.5f);
  std::vector<float> sure(100, -50.0f);
  sure[7] = 50;
  Sampler a({.temperature = 1, .seed = 5}, {.vocabulary = 100});
  Sampler b({.temperature = 1, .seed = 5}, {.vocabulary = 100});
  EXPECT_EQ(a.Sample(sure, {}).id, 7);
  b.Sample(logits, {});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(a.Sample(logits, {}).id, b.Sample(logits, {}).id);
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheBest) {
  std::vector<float> logits = RandomLogits(5000, 9);
  logits[4000] = logits[1234] = logits[4999] = 100;
  Sampler sampler({.temperature = 0}, {.vocabulary = 5000});
  const SampledToken token = sampler.Sample(logits, {});
  EXPECT_EQ(token.id, 1234);
  EXPECT_EQ(token.probability, 1);
  EXPECT_FALSE(token.logprob.has_value());
}

TEST(Sampler, PaddingIsNeverSampled) {
  std::vector<float> logits(128, 0.0f);
  for (std::size_t i = 100; i < 128; ++i) logits[i] = 50;
  Sampler sampler({.temperature = 1, .top_k = 0, .seed = 1, .top_logprobs = 20},
                  {.vocabulary = 100});
  for (int i = 0; i < 1000; ++i) {
    const SampledToken token = sampler.Sample(logits, {});
    ASSERT_LT(token.id, 100);
    for (const TokenLogprob& top : token.top) ASSERT_LT(top.id, 100);
  }
}

TEST(Sampler, LogprobsAreOfTheRawDistribution) {
  std::vector<float> logits = RandomLogits(300, 4);
  logits[17] = -kInfinity;
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  const SamplingOptions options = {
      .temperature = 0.1, .top_k = 2, .logit_bias = {{33, 40.0}}, .seed = 1, .top_logprobs = 20};
  Sampler sampler(options, {.vocabulary = 300});
  const SampledToken token = sampler.Sample(logits, {});
  EXPECT_EQ(token.id, 33);
  ASSERT_TRUE(token.logprob.has_value());
  EXPECT_NEAR(*token.logprob, logits[33] - std::log(total), 1e-4);
  ASSERT_EQ(token.top.size(), 20u);
  std::vector<float> sorted = logits;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(logits[token.top[i].id], sorted[i]);
    EXPECT_NEAR(token.top[i].logprob, sorted[i] - std::log(total), 1e-4);
  }
}

TEST(Sampler, OrderOfStagesMatters) {
  const std::vector<float> logits = {4, 3, 2, 1, 0, -1, -2, -3};
  const auto survivors = [&](std::vector<std::string> samplers) {
    const SamplingOptions options = {
        .temperature = 3, .top_k = 0, .top_p = 0.7, .min_p = 0, .samplers = samplers};
    Candidates candidates;
    candidates.Reset(logits);
    Random random(1);
    SamplerChain(StagesFromOptions(options), {.vocabulary = 8}).Apply(candidates, {}, random);
    return candidates.size();
  };
  EXPECT_EQ(survivors({"top_p", "temperature"}), 2);
  EXPECT_EQ(survivors({"temperature", "top_p"}), 4);
  EXPECT_EQ(survivors({"temperature"}), 8);
}

TEST(Sampler, MirostatHoldsTheSurprise) {
  // Zipf with exponent 1: without truncation a surprise of 9.6 bits on average.
  std::vector<float> logits(20000);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = -std::log(static_cast<float>(i + 1));
  }
  for (const std::int64_t version : {1, 2}) {
    for (const double tau : {3.0, 5.0}) {
      Mirostat mirostat(version, tau, 0.1, 20000);
      EXPECT_EQ(mirostat.mu(), 2 * tau);
      Random random(7);
      double surprise = 0;
      for (int i = 0; i < 3000; ++i) {
        Candidates candidates;
        candidates.Reset(logits);
        const DrawnToken drawn = mirostat.Sample(candidates, random.Uniform());
        if (i >= 1000) surprise -= std::log2(drawn.probability) / 2000;
      }
      EXPECT_NEAR(surprise, tau, 0.15) << version << " " << tau;
    }
  }
}

TEST(Sampler, MirostatSurvivesOddDistributions) {
  for (const std::int64_t version : {1, 2}) {
    for (const double tau : {0.0, 5.0, 100.0}) {
      Mirostat mirostat(version, tau, 1, 64);
      const std::vector<std::vector<float>> rows = {std::vector<float>(64, 1.0f),
                                                    std::vector<float>(1, 0.0f),
                                                    RandomLogits(64, 1, 50),
                                                    {0, -kInfinity, -kInfinity}};
      for (int i = 0; i < 200; ++i) {
        Candidates candidates;
        candidates.Reset(rows[i % rows.size()]);
        const DrawnToken drawn = mirostat.Sample(candidates, 0.3);
        ASSERT_GE(drawn.id, 0);
        ASSERT_GT(drawn.probability, 0);
        ASSERT_TRUE(std::isfinite(mirostat.mu()));
      }
    }
  }
}

TEST(Sampler, MirostatReplacesTheTruncationFilters) {
  SamplingOptions options;
  options.mirostat = 2;
  std::vector<std::string> names;
  for (const StageSpec& stage : StagesFromOptions(options)) names.push_back(stage.name);
  EXPECT_EQ(names, (std::vector<std::string>{"penalties", "dry", "temperature"}));
}

TEST(Sampler, BadLogitsAreErrors) {
  Sampler sampler({}, {.vocabulary = 10});
  std::vector<float> logits(10, 0.0f);
  ExpectRefused(ErrorCode::kInvalidArgument, "9 logits",
                [&] { sampler.Sample(std::span(logits).first(9), {}); });
  logits[4] = std::nanf("");
  ExpectRefused(ErrorCode::kNumerical, "token 4", [&] { sampler.Sample(logits, {}); });
  const std::vector<float> banned(10, -kInfinity);
  const std::vector<TokenId> history = {1, 2, 3};
  ExpectRefused(ErrorCode::kBadRequest, "position 3", [&] { sampler.Sample(banned, history); });
  SamplingOptions options;
  for (std::int32_t id = 0; id < 10; ++id) options.logit_bias.emplace_back(id, -100);
  Sampler strict(options, {.vocabulary = 10});
  const std::vector<float> flat(10, 0.0f);
  ExpectRefused(ErrorCode::kBadRequest, "banned", [&] { strict.Sample(flat, {}); });
}

TEST(SamplingOptions, EveryNumberIsChecked) {
  CheckSamplingOptions({});
  for (const SamplingParameter& parameter : SamplingParameters()) {
    SamplingOptions options;
    const std::string name(parameter.name);
    SetSamplingParameter(options, parameter, parameter.maximum);
    EXPECT_EQ(GetSamplingParameter(options, parameter), parameter.maximum) << name;
    CheckSamplingOptions(options);
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL, parameter.minimum - 1}) {
      ExpectRefused(ErrorCode::kInvalidArgument, name,
                    [&] { SetSamplingParameter(options, parameter, bad); });
    }
    if (parameter.is_integer()) {
      ExpectRefused(ErrorCode::kInvalidArgument, "whole number",
                    [&] { SetSamplingParameter(options, parameter, parameter.minimum + 0.5); });
    } else {
      SamplingOptions broken;
      broken.*std::get<double SamplingOptions::*>(parameter.field) = std::nan("");
      ExpectRefused(ErrorCode::kInvalidArgument, name,
                    [&] { Sampler(broken, {.vocabulary = 10}); });
    }
  }
  ExpectRefused(ErrorCode::kInvalidArgument, "repeat_penalty",
                [] { CheckSamplingOptions({.repeat_penalty = 0}); });
}

TEST(SamplingOptions, NamesAndBiasesAreChecked) {
  ExpectRefused(ErrorCode::kInvalidArgument, "'topk', expected one of",
                [] { CheckSamplingOptions({.samplers = {"top_k", "topk"}}); });
  ExpectRefused(ErrorCode::kInvalidArgument, "token 3",
                [] { CheckSamplingOptions({.logit_bias = {{3, std::nan("")}}}); });
  ExpectRefused(ErrorCode::kInvalidArgument, "token 10",
                [] { Sampler({.logit_bias = {{10, 1.0}}}, {.vocabulary = 10}); });
  ExpectRefused(ErrorCode::kInvalidArgument, "takes 1 parameters", [] {
    SamplerChain(std::vector<StageSpec>{{"top_k", {1, 2}}}, {.vocabulary = 10});
  });
}

TEST(Sampler, DefaultChainIsQuick) {
  if (!kFullSpeed) GTEST_SKIP() << "not a build for measuring";
  const std::map<std::int64_t, double> limits = {{49152, 150}, {262144, 700}};  // microseconds
  for (const auto& [vocabulary, limit] : limits) {
    const std::vector<float> logits = RandomLogits(vocabulary, 6);
    Sampler sampler({.seed = 1, .logprobs = true}, {.vocabulary = vocabulary});
    double best = 1e9;
    for (int i = 0; i < 300; ++i) {
      const auto start = std::chrono::steady_clock::now();
      sampler.Sample(logits, {});
      const std::chrono::duration<double, std::micro> time =
          std::chrono::steady_clock::now() - start;
      best = std::min(best, time.count());
    }
    RecordProperty("microseconds_" + std::to_string(vocabulary), std::to_string(best));
    EXPECT_LT(best, limit) << vocabulary;
  }
}

}  // namespace
}  // namespace foveate
