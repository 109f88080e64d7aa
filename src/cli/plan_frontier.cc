#include "cli/plan_frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/throw.h"
#include "cli/interrupt.h"
#include "cli/line_chart.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;
using Points = std::vector<FrontierPoint>;

constexpr std::size_t kMostRows = 20;

struct Plan {
  const std::vector<AnswerSet>& answers;
  const KineticsDevice& device;
  CostUnit unit;
  std::vector<std::string> questions;
  std::vector<TrialChoice> candidates;
  Points frontier;
  std::map<std::string, Points> by_attention;  // of candidates with one kind of attention only
  Points full;                                 // of those with full attention
};

std::vector<TrialChoice> AllCandidates(const std::vector<AnswerSet>& answers,
                                       const KineticsModels& models, const KineticsDevice& device,
                                       const std::vector<std::string>& questions) {
  std::vector<TrialChoice> all;
  ProgressBar bar("counting");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ThrowIfInterrupted();
    bar.Update(static_cast<double>(i) / static_cast<double>(answers.size()));
    const auto question = std::lower_bound(questions.begin(), questions.end(), answers[i].question);
    for (TrialChoice& candidate :
         CandidatesOf(answers[i], models.find(answers[i].model)->second, device)) {
      candidate.question = question - questions.begin();
      candidate.answers = i;
      all.push_back(candidate);
    }
  }
  return all;
}

// The frontier without the candidates that `holds` is false of.
template <typename Holds>
Points FrontierWhere(const Plan& plan, const Holds& holds) {
  std::vector<TrialChoice> some;
  for (const TrialChoice& candidate : plan.candidates) {
    if (holds(plan.answers[candidate.answers])) some.push_back(candidate);
  }
  return Frontier(some, plan.questions.size(), plan.unit);
}

Plan MakePlan(const std::vector<AnswerSet>& answers, const KineticsModels& models,
              const KineticsDevice& device, CostUnit unit) {
  Plan plan{.answers = answers, .device = device, .unit = unit};
  std::set<std::string> questions, attention;
  for (const AnswerSet& set : answers) {
    questions.insert(set.question);
    attention.insert(set.attention);
  }
  plan.questions.assign(questions.begin(), questions.end());
  plan.candidates = AllCandidates(answers, models, device, plan.questions);
  plan.frontier = Frontier(plan.candidates, plan.questions.size(), unit);
  for (const std::string& name : attention) {
    plan.by_attention[name] =
        FrontierWhere(plan, [&](const AnswerSet& set) { return set.attention == name; });
  }
  plan.full = FrontierWhere(
      plan, [](const AnswerSet& set) { return set.kind.kind == KineticsAttention::Kind::kFull; });
  return plan;
}

// --- what is drawn ---

// A frontier's points are corners of stairs; costs span decades, which the chart has upwards.
ChartLine LineOf(const std::string& name, const Points& points, double unit) {
  ChartLine line{name, {}};
  for (const FrontierPoint& point : points) {
    line.points.emplace_back(point.coverage, point.cost / unit);
  }
  return line;
}

LineChart ChartOf(const Plan& plan) {
  if (plan.frontier.empty()) {
    Throw(ErrorCode::kInvalidArgument, "nothing to draw: no trial of any question is correct");
  }
  const double cheapest = plan.frontier.front().cost;
  LineChart chart{.title = fmt::format("{} questions, {}", plan.questions.size(), plan.device.name),
                  .x_label = "coverage, share of the questions",
                  .y_label = fmt::format("budget of a question, 1 is {:.3g} {}", cheapest,
                                         plan.unit == CostUnit::kSeconds ? "seconds" : "eFLOP"),
                  .lines = {LineOf("best of all", plan.frontier, cheapest)}};
  for (const auto& [name, points] : plan.by_attention) {
    if (!points.empty()) chart.lines.push_back(LineOf(name.substr(0, 26), points, cheapest));
  }
  return chart;
}

// --- what is printed ---

OrderedJson PointsJson(const Points& points) {
  OrderedJson list = OrderedJson::array();
  double before = 0;
  for (const FrontierPoint& point : points) {
    list.push_back(
        {{"cost", point.cost}, {"coverage", point.coverage}, {"gain", point.coverage - before}});
    before = point.coverage;
  }
  return list;
}

OrderedJson ChoicesJson(const Plan& plan, const std::vector<const TrialChoice*>& choices) {
  OrderedJson list = OrderedJson::array();
  for (const TrialChoice* choice : choices) {
    if (choice == nullptr) continue;
    const AnswerSet& set = plan.answers[choice->answers];
    list.push_back({{"question", set.question},
                    {"model", set.model},
                    {"attention", set.attention},
                    {"trials", choice->trials},
                    {"coverage", choice->coverage},
                    {"equivalent_flop", choice->equivalent_flop},
                    {"seconds", choice->seconds}});
  }
  return list;
}

double Coverage(const Plan& plan, const std::vector<const TrialChoice*>& choices) {
  double sum = 0;
  for (const TrialChoice* choice : choices) sum += choice == nullptr ? 0 : choice->coverage;
  return sum / static_cast<double>(plan.questions.size());
}

void PrintPlanJson(const Plan& plan, const FrontierOptions& options,
                   const std::vector<const TrialChoice*>& within) {
  OrderedJson object = {{"device", plan.device.name},
                        {"flops", plan.device.flops},
                        {"bytes_per_second", plan.device.bytes_per_second},
                        {"intensity", plan.device.intensity()},
                        {"questions", plan.questions.size()},
                        {"answer_sets", plan.answers.size()},
                        {"cost", plan.unit == CostUnit::kSeconds ? "seconds" : "equivalent_flop"},
                        {"frontier", PointsJson(plan.frontier)},
                        {"by_attention", OrderedJson::object()}};
  for (const auto& [name, points] : plan.by_attention) {
    object["by_attention"][name] = PointsJson(points);
  }
  if (options.budget > 0) {
    object["within_budget"] = {{"seconds", options.budget},
                               {"coverage", Coverage(plan, within)},
                               {"choices", ChoicesJson(plan, within)}};
  }
  PrintJson(object);
}

// The first points that reach even steps of coverage, and the last.
Points Rows(const Points& frontier) {
  Points rows;
  for (const FrontierPoint& point : frontier) {
    const double first = frontier.front().coverage, last = frontier.back().coverage;
    const double next = first + (last - first) * static_cast<double>(rows.size()) / (kMostRows - 1);
    if (frontier.size() <= kMostRows || point.coverage >= next) rows.push_back(point);
  }
  return rows;
}

// The model and attention that most questions choose.
std::string MostlyChosen(const Plan& plan, const std::vector<const TrialChoice*>& choices) {
  std::map<std::string, int> counts;
  for (const TrialChoice* choice : choices) {
    if (choice == nullptr) continue;
    const AnswerSet& set = plan.answers[choice->answers];
    ++counts[fmt::format("{} with {}", set.model, set.attention)];
  }
  if (counts.empty()) return "nothing";
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return fmt::format("{} for {} of {}", most->first, most->second, plan.questions.size());
}

void PrintRows(const Plan& plan) {
  const bool seconds = plan.unit == CostUnit::kSeconds;
  const bool compared = !plan.full.empty() && plan.by_attention.size() > 1;
  fmt::print("{:>12} {:>9} {:>7}{}  most questions choose\n", seconds ? "seconds" : "eGFLOP",
             "coverage", "gain", compared ? fmt::format(" {:>9}", "over full") : "");
  double before = 0;
  for (const FrontierPoint& row : Rows(plan.frontier)) {
    fmt::print("{:>12.6g} {:>7.1f} % {:>+7.1f}", seconds ? row.cost : row.cost * 1e-9,
               100 * row.coverage, 100 * (row.coverage - before));
    if (compared) {
      fmt::print(" {:>+9.1f}", 100 * (row.coverage - CoverageWithin(plan.full, row.cost)));
    }
    fmt::print("  {}\n", MostlyChosen(plan, ChoicesWithin(plan.candidates, plan.questions.size(),
                                                          plan.unit, row.cost)));
    before = row.coverage;
  }
}

void PrintPlan(const Plan& plan, const FrontierOptions& options,
               const std::vector<const TrialChoice*>& within) {
  fmt::print("{}: {:.4g} GFLOP/s, {:.4g} GB/s; {} questions, {} answer sets\n\n", plan.device.name,
             plan.device.flops * 1e-9, plan.device.bytes_per_second * 1e-9, plan.questions.size(),
             plan.answers.size());
  if (plan.frontier.empty()) {
    fmt::print("no trial of any question is correct\n");
  } else {
    PrintRows(plan);
  }
  if (options.budget > 0) {
    fmt::print("\nwithin {} s a question: {:.1f} %, {}\n", options.budget,
               100 * Coverage(plan, within), MostlyChosen(plan, within));
  }
}

}  // namespace

int PlanFrontier(const std::vector<AnswerSet>& answers, const KineticsModels& models,
                 const KineticsDevice& device, const FrontierOptions& options) {
  const Plan plan = MakePlan(answers, models, device, options.unit);
  std::vector<const TrialChoice*> within;
  if (options.budget > 0) {
    within =
        ChoicesWithin(plan.candidates, plan.questions.size(), CostUnit::kSeconds, options.budget);
  }
  if (!options.chart.empty()) WriteLineChart(options.chart, ChartOf(plan));
  if (options.json) {
    PrintPlanJson(plan, options, within);
  } else {
    PrintPlan(plan, options, within);
  }
  return kExitOk;
}

}  // namespace foveate::cli
