#include "eval/summary.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace foveate {
namespace {

// The results of one setting in a table, by case.
using Row = std::map<std::int64_t, const StoredResult*>;

// Pairs of results of the same case.
template <typename Use>
void ForPairs(const Row& row, const Row& other, Use&& use) {
  for (const auto& [id, result] : row) {
    if (const auto found = other.find(id); found != other.end()) {
      use(result->outcome, found->second->outcome);
    }
  }
}

void AddPerplexity(const Row& row, const Row& baseline, EvalSummary& summary) {
  double nll = 0, agreement = 0, divergence = 0;
  for (const auto& [id, result] : row) {
    for (const float value : result->outcome.nll) nll += value;
    summary.targets += std::ssize(result->outcome.nll);
    agreement += result->outcome.agreement;
    divergence += result->outcome.divergence;
  }
  const auto count = static_cast<double>(row.size());
  summary.perplexity = std::exp(nll / static_cast<double>(summary.targets));
  summary.agreement = agreement / count;
  summary.divergence = divergence / count;
  if (summary.is_baseline) return;
  std::vector<double> differences;
  double sum = 0;
  ForPairs(row, baseline, [&](const EvalOutcome& own, const EvalOutcome& other) {
    for (std::size_t i = 0; i < own.nll.size(); ++i) {
      differences.push_back(static_cast<double>(own.nll[i]) - other.nll[i]);
      sum += differences.back();
    }
  });
  if (differences.empty()) return;
  const Interval range = BlockBootstrap(differences);
  summary.ratio = std::exp(sum / static_cast<double>(differences.size()));
  summary.ratio_range = {std::exp(range.low), std::exp(range.high)};
}

void AddAnswers(const Row& row, const Row& baseline, EvalSummary& summary) {
  for (const auto& [id, result] : row) {
    for (RateAt* rate : {&summary.rate, &summary.depths[result->question.depth]}) {
      ++rate->trials;
      rate->correct += result->outcome.correct;
    }
  }
  summary.rate_range = WilsonInterval(summary.rate.correct, summary.rate.trials);
  std::int64_t only_own = 0, only_other = 0;
  ForPairs(row, baseline, [&](const EvalOutcome& own, const EvalOutcome& other) {
    only_own += own.correct && !other.correct;
    only_other += other.correct && !own.correct;
  });
  summary.p_value = McNemarTest(only_own, only_other);
}

void AddCosts(const Row& row, const Row& baseline, EvalSummary& summary) {
  const auto count = static_cast<double>(row.size());
  for (const auto& [id, result] : row) {
    const EvalOutcome& outcome = result->outcome;
    summary.density += (outcome.density - 1) / count;
    summary.seconds += outcome.seconds / count;
    summary.attention_seconds += outcome.attention_seconds / count;
    summary.selection_seconds += outcome.selection_seconds / count;
  }
  double own_seconds = 0, other_seconds = 0;
  ForPairs(row, baseline, [&](const EvalOutcome& own, const EvalOutcome& other) {
    own_seconds += own.attention_seconds;
    other_seconds += other.attention_seconds;
  });
  if (other_seconds > 0) summary.attention_share = own_seconds / other_seconds;
}

void CorrectProbabilities(std::vector<EvalSummary>& table) {
  std::vector<double> probabilities;
  for (const EvalSummary& row : table) {
    if (!row.is_baseline) probabilities.push_back(row.p_value);
  }
  const std::vector<double> corrected = HolmCorrected(probabilities);
  std::size_t next = 0;
  for (EvalSummary& row : table) {
    if (!row.is_baseline) row.p_value = corrected[next++];
  }
}

// Rows of a table, in the order of their settings.
std::vector<EvalSummary> TableOf(const std::map<std::int64_t, Row>& rows) {
  std::vector<EvalSummary> table;
  const Row& baseline = rows.begin()->second;
  for (const auto& [id, row] : rows) {
    const StoredResult& any = *row.begin()->second;
    EvalSummary summary{.setting = any.setting,
                        .task = any.question.task,
                        .context = any.question.context,
                        .cases = std::ssize(row),
                        .is_baseline = &row == &baseline};
    if (summary.task == EvalTask::kPerplexity) {
      AddPerplexity(row, baseline, summary);
    } else {
      AddAnswers(row, baseline, summary);
    }
    AddCosts(row, baseline, summary);
    table.push_back(std::move(summary));
  }
  CorrectProbabilities(table);
  return table;
}

}  // namespace

std::vector<EvalSummary> Summarise(const std::vector<StoredResult>& results) {
  using TableKey = std::tuple<std::string, EvalTask, std::int64_t, std::string, bool>;
  std::map<TableKey, std::map<std::int64_t, Row>> tables;
  for (const StoredResult& result : results) {
    const StoredSetting& setting = result.setting;
    const TableKey key{setting.model, result.question.task, result.question.context,
                       setting.options, setting.decoding};
    tables[key][setting.id][result.question_id] = &result;
  }
  std::vector<EvalSummary> all;
  for (const auto& [key, rows] : tables) {
    for (EvalSummary& summary : TableOf(rows)) all.push_back(std::move(summary));
  }
  return all;
}

}  // namespace foveate
