// Results of cases gathered into rows: one for each way of attention. Those of one model, task and
// context that were evaluated alike, with the same options and as a prompt or as decoding, are a
// table; the first is the baseline of the others.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "eval/results.h"
#include "eval/statistics.h"

namespace foveate {

struct RateAt {
  std::int64_t correct = 0, trials = 0;
};

struct EvalSummary {
  StoredSetting setting;
  EvalTask task = EvalTask::kPerplexity;
  std::int64_t context = 0;
  std::int64_t cases = 0;
  bool is_baseline = false;

  // Perplexity; ratio, divergence and agreement against the baseline, on the same targets.
  std::int64_t targets = 0;
  double perplexity = 0;
  double ratio = 1;
  Interval ratio_range = {1, 1};  // 95 %
  double divergence = 0;          // mean KL(baseline || this), nats
  double agreement = 1;           // of likeliest tokens

  // Questions.
  RateAt rate;
  Interval rate_range;              // 95 %
  std::map<double, RateAt> depths;  // by depth
  double p_value = 1;  // of as many right answers as the baseline, McNemar's test with Holm's
                       // correction over the settings of the table

  // Means of a case.
  double density = 1;
  double seconds = 0;
  double attention_seconds = 0;
  double selection_seconds = 0;
  double attention_share = 1;  // of the baseline's time in attention, on the same cases
};

// The rows of a table stand together, in the order of their settings.
std::vector<EvalSummary> Summarise(const std::vector<StoredResult>& results);

}  // namespace foveate
