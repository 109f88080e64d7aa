#include "runtime/sampler_dry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace foveate {
namespace {

using Penalties = std::map<TokenId, double>;

// The definition, one pair of positions at a time.
Penalties NaiveDry(std::span<const TokenId> history, const DryOptions& options,
                   const std::vector<TokenSequence>& breakers) {
  const std::span<const TokenId> w = HistoryTail(history, options.last_n);
  const std::int64_t n = std::ssize(w);
  std::int64_t limit = n;
  for (const TokenSequence& breaker : breakers) {
    for (std::int64_t end = std::ssize(breaker); end <= n; ++end) {
      if (std::equal(breaker.begin(), breaker.end(), w.begin() + end - std::ssize(breaker))) {
        limit = std::min(limit, n - end);
      }
    }
  }
  std::map<TokenId, std::int64_t> longest;
  for (std::int64_t j = 0; j + 1 < n; ++j) {
    std::int64_t r = 0;
    while (r <= j && w[j - r] == w[n - 1 - r]) ++r;
    r = std::min(r, limit);
    if (r >= options.allowed_length) longest[w[j + 1]] = std::max(longest[w[j + 1]], r);
  }
  Penalties penalties;
  for (const auto& [id, r] : longest) {
    const bool breaks =
        std::find(breakers.begin(), breakers.end(), TokenSequence{id}) != breakers.end();
    if (!breaks) {
      penalties[id] = options.multiplier *
                      std::pow(options.base, static_cast<double>(r - options.allowed_length));
    }
  }
  return penalties;
}

Penalties FastDry(std::span<const TokenId> history, const DryOptions& options,
                  const std::vector<TokenSequence>& breakers, std::int64_t vocabulary) {
  const std::vector<float> logits(vocabulary, 0.0f);
  Candidates candidates;
  candidates.Reset(logits);
  TokenTally tally(vocabulary);
  DryScratch scratch;
  ApplyDry(candidates, history, options, DryBreakers(breakers), tally, scratch);
  Penalties penalties;
  for (std::int64_t i = 0; i < candidates.size(); ++i) {
    if (candidates.logits()[i] != 0) penalties[candidates.id(i)] = -candidates.logits()[i];
  }
  return penalties;
}

TEST(Dry, MatchesTheDefinitionOnRandomTexts) {
  std::mt19937 generator(5);
  int penalised = 0;
  for (int round = 0; round < 2000; ++round) {
    const int alphabet = 2 + static_cast<int>(generator() % 5);
    std::vector<TokenId> history(generator() % 60);
    for (TokenId& id : history) id = static_cast<TokenId>(generator() % alphabet);
    const DryOptions options = {.multiplier = 0.8,
                                .base = 1.25,
                                .allowed_length = 1 + static_cast<std::int64_t>(generator() % 4),
                                .last_n = round % 3 == 0 ? -1 : 20};
    std::vector<TokenSequence> breakers;
    if (round % 2 == 0) breakers = {{static_cast<TokenId>(generator() % 7)}, {1, 0, 1}, {0, 0}};
    const Penalties expected = NaiveDry(history, options, breakers);
    const Penalties actual = FastDry(history, options, breakers, 8);
    ASSERT_EQ(actual.size(), expected.size()) << round;
    for (const auto& [id, penalty] : expected) {
      ASSERT_TRUE(actual.contains(id)) << round;
      ASSERT_NEAR(actual.at(id), penalty, 1e-5 * penalty) << round;
      ++penalised;
    }
  }
  EXPECT_GT(penalised, 1000);
}

TEST(Dry, LongRepetitionsStayFiniteAndQuick) {
  const std::vector<TokenId> history(200000, 3);  // quadratic work would take minutes
  const DryOptions options = {.multiplier = 1000, .base = 1000, .allowed_length = 2, .last_n = -1};
  const Penalties penalties = FastDry(history, options, {}, 8);
  ASSERT_EQ(penalties.size(), 1u);
  EXPECT_TRUE(std::isfinite(penalties.at(3)));
}

TEST(Dry, ForeignIdsAndTinyWindowsAreHarmless) {
  const DryOptions options = {.multiplier = 1, .base = 2, .allowed_length = 1, .last_n = -1};
  EXPECT_TRUE(FastDry({}, options, {{1}}, 4).empty());
  EXPECT_TRUE(FastDry(std::vector<TokenId>{2}, options, {}, 4).empty());
  EXPECT_TRUE(FastDry(std::vector<TokenId>{-1, 77, -1, 77}, options, {}, 4).empty());
}

TEST(Dry, FindsBreakersInsideAndAcrossTokens) {
  const std::vector<std::string> texts = {"a", "x\n", "\n\n", "b-", "-", ">", "->", "c"};
  const std::vector<std::string> breakers = {"\n", "->", ""};
  const auto encode = [&](std::string_view text) {
    EXPECT_EQ(text, ">");
    return std::vector<TokenId>{5};
  };
  const std::vector<TokenSequence> expected = {{1}, {2}, {3, 5}, {4, 5}, {6}};
  EXPECT_EQ(FindBreakerSequences(texts, breakers, encode), expected);
}

}  // namespace
}  // namespace foveate
