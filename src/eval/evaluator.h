// Runs the cases that a file of results lacks, for several ways of attention.
//
//   Evaluator evaluator(context, model, results, {.attention = specs, .decoder = options});
//   evaluator.Plan(cases);
//   evaluator.Run();
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/context.h"
#include "eval/eval_case.h"
#include "eval/results.h"
#include "eval/subject.h"

namespace foveate {

struct EvaluatorOptions {
  // The first is the baseline. Where others act on decoding only, it is evaluated as decoding
  // besides, for them to be compared with.
  std::vector<AttentionSpec> attention;
  DecoderOptions decoder = {};  // its context and attention are replaced
  // All are evaluated as decoding, not only mechanisms that act on decoding only: the second half
  // of a window token by token.
  bool as_decoding = false;
  bool again = false;  // cases that have results as well
  // Called between chunks with the share done of what is planned; may throw to stop.
  std::function<void(double share, const std::string& what)> on_progress = {};
};

class Evaluator {
 public:
  Evaluator(Context& context, std::shared_ptr<const LanguageModel> model, const EvalModelId& id,
            EvalResults& results, EvaluatorOptions options);

  // Adds cases: those of settings that have no result.
  void Plan(std::vector<EvalCase> cases);

  // Cases that are planned, counted for each setting.
  std::int64_t planned() const;

  // What Run is going to take if every way of attention costs what dense attention does, by a short
  // measurement.
  double EstimateSeconds() const;

  // Evaluates what is planned. Each case is kept when it is done.
  void Run();

  // Of all results those of its settings and of the cases that Plan was called with.
  std::vector<StoredResult> Chosen(std::vector<StoredResult> results) const;

 private:
  struct Setting {
    std::int64_t id;
    AttentionSpec attention;
    bool as_decoding;
  };
  struct Planned {
    EvalCase question;
    std::int64_t id;
    std::vector<std::size_t> settings;  // that lack it
  };

  void Add(const EvalModelId& id, const AttentionSpec& attention, bool as_decoding);
  std::vector<std::unique_ptr<EvalSubject>> MakeSubjects(std::int64_t context) const;
  void RunWindow(const Planned& planned, bool as_decoding,
                 const std::vector<std::unique_ptr<EvalSubject>>& subjects,
                 const EvalSubject::Check& check);

  Context& context_;
  std::shared_ptr<const LanguageModel> model_;
  EvalResults& results_;
  EvaluatorOptions options_;
  std::vector<Setting> settings_;     // of those evaluated alike the first is the baseline
  std::vector<Planned> planned_;      // by context
  std::set<std::int64_t> questions_;  // of Plan
};

}  // namespace foveate
