// What measured answers buy: the frontier of coverage against budgets of `foveate plan kinetics
// --accuracy`.
#pragma once

#include <string>
#include <vector>

#include "runtime/kinetics_frontier.h"

namespace foveate::cli {

struct FrontierOptions {
  CostUnit unit = CostUnit::kEquivalentFlop;
  double budget = 0;  // seconds of a question: says what fits and covers most; 0: none
  std::string chart;  // an .svg to draw; empty: none
  bool json = false;
};

// Computes, draws and prints it; gives the exit status.
int PlanFrontier(const std::vector<AnswerSet>& answers, const KineticsModels& models,
                 const KineticsDevice& device, const FrontierOptions& options);

}  // namespace foveate::cli
