// Coverage, its cost and the frontier of both, beside naive twins: subsets counted one by one.
#include "runtime/kinetics_frontier.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

namespace foveate {
namespace {

using Kind = KineticsAttention::Kind;

const KineticsDevice kDevice{"", 7e3, 3e3};

// Sums `value(subset)` over all subsets of m of n things, as bits, and gives the mean.
template <typename Value>
double MeanOfSubsets(std::int64_t n, int m, const Value& value) {
  double sum = 0, count = 0;
  for (unsigned subset = 0; subset < 1u << n; ++subset) {
    if (std::popcount(subset) != m) continue;
    sum += value(subset);
    ++count;
  }
  return sum / count;
}

TEST(KineticsFrontier, ChancesAreThoseOfAllSubsets) {
  for (std::int64_t all = 1; all <= 9; ++all) {
    for (std::int64_t marked = 0; marked <= all; ++marked) {
      const std::vector<double> chances = DrawChances(all, marked);
      ASSERT_EQ(std::ssize(chances), all);
      for (int m = 1; m <= all; ++m) {
        const double expected = MeanOfSubsets(
            all, m, [&](unsigned subset) { return (subset & ((1u << marked) - 1)) != 0; });
        EXPECT_NEAR(chances[m - 1], expected, 1e-14) << all << " " << marked << " " << m;
      }
    }
  }
}

// C(10000, 5000) has 3008 digits. With one marked the chance is m / all, with two 1 - (all - m)
// (all - m - 1) / all / (all - 1).
TEST(KineticsFrontier, ChancesOfManyTrialsAreExact) {
  const std::int64_t all = 10'000;
  const std::vector<double> one = DrawChances(all, 1), two = DrawChances(all, 2);
  for (std::int64_t m = 1; m <= all; ++m) {
    const double left = static_cast<double>(all - m), n = static_cast<double>(all);
    EXPECT_NEAR(one[m - 1], 1 - left / n, 1e-11);
    EXPECT_NEAR(two[m - 1], 1 - left * (left - 1) / n / (n - 1), 1e-11);
  }
  EXPECT_EQ(DrawChances(all, 0).back(), 0);
  EXPECT_EQ(DrawChances(all, all).front(), 1);
}

KineticsModel SmallModel() {
  return {.parameters = 11,
          .layers = {{8, 4}, {8, 4, 6}, {6, 2}, {8, 4}},
          .weight_bytes = 90,
          .kv_element_bytes = 1.5};
}

const KineticsAttention kAttentions[] = {
    {},
    {.kind = Kind::kTopKeys, .always = 2, .chosen = 3, .dense_layers = 1},
    {.kind = Kind::kTopBlocks, .always = 1, .chosen = 8, .block = 4, .dense_layers = 3}};

TEST(KineticsFrontier, EqualTrialsCostWhatARunCosts) {
  const KineticsModel model = SmallModel();
  for (const KineticsAttention& attention : kAttentions) {
    const AnswerSet set{.kind = attention, .prompt = 5, .generated = {17, 17, 17}, .correct = 1};
    const std::vector<TrialChoice> candidates = CandidatesOf(set, model, kDevice);
    ASSERT_EQ(candidates.size(), 3u);
    for (std::int64_t m = 1; m <= 3; ++m) {
      const TrialChoice& candidate = candidates[m - 1];
      const KineticsRun run{5, 17, m};
      const double flop = TotalCost(model, run, attention).equivalent(kDevice.intensity());
      EXPECT_EQ(candidate.trials, m);
      EXPECT_DOUBLE_EQ(candidate.coverage, static_cast<double>(m) / 3);
      EXPECT_NEAR(candidate.equivalent_flop, flop, flop * 1e-12);
      const double seconds = RooflineSeconds(model, run, attention, kDevice);
      EXPECT_NEAR(candidate.seconds, seconds, seconds * 1e-12);
    }
  }
}

// Of the trials of a subset, step by step, those that go on.
double SubsetCost(const AnswerSet& set, const KineticsModel& model, unsigned subset) {
  double sum = 0;
  for (std::int64_t step = 0;; ++step) {
    std::int64_t active = 0;
    for (std::size_t i = 0; i < set.generated.size(); ++i) {
      active += (subset >> i & 1) != 0 && set.generated[i] > step;
    }
    if (active == 0) return sum;
    sum += StepCost(model, {set.prompt, 0, active}, set.kind, step).equivalent(kDevice.intensity());
  }
}

TEST(KineticsFrontier, UnequalTrialsCostTheMeanOfAllSubsets) {
  const KineticsModel model = SmallModel();
  for (const KineticsAttention& attention : kAttentions) {
    const AnswerSet set{.kind = attention, .prompt = 7, .generated = {9, 3, 21, 3, 12, 1}};
    const std::vector<TrialChoice> candidates = CandidatesOf(set, model, kDevice);
    for (int m = 1; m <= 6; ++m) {
      const double expected =
          MeanOfSubsets(6, m, [&](unsigned subset) { return SubsetCost(set, model, subset); });
      EXPECT_NEAR(candidates[m - 1].equivalent_flop, expected, expected * 1e-12) << m;
    }
  }
}

std::vector<TrialChoice> RandomCandidates(std::mt19937& random, std::size_t questions) {
  std::vector<TrialChoice> candidates(random() % 60);
  for (TrialChoice& candidate : candidates) {
    candidate.question = random() % questions;
    candidate.coverage = static_cast<double>(random() % 9) / 8;
    candidate.equivalent_flop = static_cast<double>(1 + random() % 20);
    candidate.seconds = static_cast<double>(1 + random() % 20);
  }
  return candidates;
}

double CoverageByHand(const std::vector<TrialChoice>& candidates, std::size_t questions,
                      CostUnit unit, double budget) {
  double sum = 0;
  for (std::size_t question = 0; question < questions; ++question) {
    double best = 0;
    for (const TrialChoice& candidate : candidates) {
      if (candidate.question == question && CostOf(candidate, unit) <= budget) {
        best = std::max(best, candidate.coverage);
      }
    }
    sum += best;
  }
  return sum / static_cast<double>(questions);
}

TEST(KineticsFrontier, IsTheBestOfEachQuestionAtEveryBudget) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::size_t questions = 1 + random() % 6;
    const std::vector<TrialChoice> candidates = RandomCandidates(random, questions);
    for (const CostUnit unit : {CostUnit::kEquivalentFlop, CostUnit::kSeconds}) {
      const std::vector<FrontierPoint> frontier = Frontier(candidates, questions, unit);
      for (std::size_t i = 1; i < frontier.size(); ++i) {
        EXPECT_GT(frontier[i].cost, frontier[i - 1].cost);
        EXPECT_GT(frontier[i].coverage, frontier[i - 1].coverage);
      }
      for (double budget = 0; budget <= 21; budget += 0.5) {
        const double expected = CoverageByHand(candidates, questions, unit, budget);
        EXPECT_DOUBLE_EQ(CoverageWithin(frontier, budget), expected);
        double sum = 0;
        for (const TrialChoice* choice : ChoicesWithin(candidates, questions, unit, budget)) {
          if (choice == nullptr) continue;
          EXPECT_LE(CostOf(*choice, unit), budget);
          sum += choice->coverage;
        }
        EXPECT_DOUBLE_EQ(sum / static_cast<double>(questions), expected);
      }
    }
  }
}

TEST(KineticsFrontier, OfEqualsTheCheapestIsChosen) {
  const std::vector<TrialChoice> candidates = {
      {.coverage = 0.5, .seconds = 3}, {.coverage = 0.5, .seconds = 2}, {.seconds = 1}};
  EXPECT_EQ(ChoicesWithin(candidates, 1, CostUnit::kSeconds, 9)[0], &candidates[1]);
  EXPECT_EQ(ChoicesWithin(candidates, 1, CostUnit::kSeconds, 1)[0], nullptr);
}

}  // namespace
}  // namespace foveate
