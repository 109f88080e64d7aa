// What answers cost and how many questions they solve: the coverage that a budget buys where each
// question is given the best of all settings within it (Kinetics, arXiv 2506.05333).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/kinetics_answers.h"

namespace foveate {

// Entry m - 1: the chance that m of `all` trials, drawn without putting back, hold one of the
// `marked`: pass@m = 1 - C(all - marked, m) / C(all, m).
std::vector<double> DrawChances(std::int64_t all, std::int64_t marked);

// A setting that may be chosen for a question. Costs are the mean over all draws of that many
// trials, which share the prompt and end where they ended.
struct TrialChoice {
  std::size_t question = 0;  // number
  std::size_t answers = 0;   // number of the answer set
  std::int64_t trials = 0;
  double coverage = 0;         // chance that a trial is correct
  double equivalent_flop = 0;  // exactly
  double seconds = 0;          // the roofline of the mean step; exact where all are equally long
};

enum class CostUnit { kEquivalentFlop, kSeconds };
double CostOf(const TrialChoice& candidate, CostUnit unit);

// Of 1, 2 .. all trials of an answer set.
std::vector<TrialChoice> CandidatesOf(const AnswerSet& answers, const KineticsModel& model,
                                      const KineticsDevice& device);

struct FrontierPoint {
  double cost = 0;      // the budget of each question
  double coverage = 0;  // mean over all questions; those that nothing solves in it count 0
};

// Where a larger budget covers more: both rise.
std::vector<FrontierPoint> Frontier(std::span<const TrialChoice> candidates, std::size_t questions,
                                    CostUnit unit);

// What it covers within a budget.
double CoverageWithin(std::span<const FrontierPoint> frontier, double budget);

// For each question the candidate that covers most within a budget, of equals the cheapest; null:
// none covers anything.
std::vector<const TrialChoice*> ChoicesWithin(std::span<const TrialChoice> candidates,
                                              std::size_t questions, CostUnit unit, double budget);

}  // namespace foveate
