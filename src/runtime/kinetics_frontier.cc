#include "runtime/kinetics_frontier.h"

#include <algorithm>
#include <tuple>

namespace foveate {
namespace {

double Real(std::int64_t number) { return static_cast<double>(number); }

// Adds a step to the costs of each number of trials, of which `share` go on on average; `chances`
// are those that some do.
void AddStep(const KineticsShares& step, double share, std::span<const double> chances,
             const KineticsDevice& device, std::span<TrialChoice> candidates) {
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    KineticsCost cost = Real(candidates[i].trials) * share * step.each;
    cost += chances[i] * step.shared;
    candidates[i].equivalent_flop += cost.equivalent(device.intensity());
    candidates[i].seconds += RooflineSeconds(cost, device);
  }
}

}  // namespace

// As a product of ratios: no factorial overflows, nothing cancels.
std::vector<double> DrawChances(std::int64_t all, std::int64_t marked) {
  std::vector<double> chances;
  double none = 1;
  for (std::int64_t drawn = 0; drawn < all; ++drawn) {
    none *= Real(std::max<std::int64_t>(all - marked - drawn, 0)) / Real(all - drawn);
    chances.push_back(1 - none);
  }
  return chances;
}

double CostOf(const TrialChoice& candidate, CostUnit unit) {
  return unit == CostUnit::kSeconds ? candidate.seconds : candidate.equivalent_flop;
}

std::vector<TrialChoice> CandidatesOf(const AnswerSet& answers, const KineticsModel& model,
                                      const KineticsDevice& device) {
  const std::int64_t trials = answers.trials();
  std::vector<TrialChoice> candidates;
  for (const double coverage : DrawChances(trials, answers.correct)) {
    candidates.push_back({.trials = std::ssize(candidates) + 1, .coverage = coverage});
  }
  std::vector<std::int64_t> ends = answers.generated;
  std::sort(ends.begin(), ends.end());
  std::int64_t step = 0;
  for (std::int64_t ended = 0; ended < trials; ++ended) {
    if (step == ends[ended]) continue;
    const std::int64_t active = trials - ended;
    const std::vector<double> chances = DrawChances(trials, active);
    for (; step < ends[ended]; ++step) {
      AddStep(StepShares(model, answers.prompt, answers.kind, step), Real(active) / Real(trials),
              chances, device, candidates);
    }
  }
  return candidates;
}

std::vector<FrontierPoint> Frontier(std::span<const TrialChoice> candidates, std::size_t questions,
                                    CostUnit unit) {
  std::vector<const TrialChoice*> by_cost;
  for (const TrialChoice& candidate : candidates) by_cost.push_back(&candidate);
  std::sort(by_cost.begin(), by_cost.end(), [&](const TrialChoice* a, const TrialChoice* b) {
    return CostOf(*a, unit) < CostOf(*b, unit);
  });
  std::vector<FrontierPoint> frontier;
  std::vector<double> best(questions, 0);
  double sum = 0;
  for (const TrialChoice* candidate : by_cost) {
    double& covered = best[candidate->question];
    if (candidate->coverage <= covered) continue;
    sum += candidate->coverage - covered;
    covered = candidate->coverage;
    const FrontierPoint point{CostOf(*candidate, unit), sum / static_cast<double>(questions)};
    if (!frontier.empty() && frontier.back().cost == point.cost) {
      frontier.back() = point;
    } else {
      frontier.push_back(point);
    }
  }
  return frontier;
}

double CoverageWithin(std::span<const FrontierPoint> frontier, double budget) {
  const auto above =
      std::upper_bound(frontier.begin(), frontier.end(), budget,
                       [](double cost, const FrontierPoint& point) { return cost < point.cost; });
  return above == frontier.begin() ? 0 : std::prev(above)->coverage;
}

std::vector<const TrialChoice*> ChoicesWithin(std::span<const TrialChoice> candidates,
                                              std::size_t questions, CostUnit unit, double budget) {
  std::vector<const TrialChoice*> choices(questions, nullptr);
  const auto merit = [&](const TrialChoice& c) { return std::tuple(c.coverage, -CostOf(c, unit)); };
  for (const TrialChoice& candidate : candidates) {
    if (candidate.coverage == 0 || CostOf(candidate, unit) > budget) continue;
    const TrialChoice*& best = choices[candidate.question];
    if (best == nullptr || merit(candidate) > merit(*best)) best = &candidate;
  }
  return choices;
}

}  // namespace foveate
