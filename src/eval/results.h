// What evaluations found, in a SQLite file that outlives them: each case is kept when it is done,
// and an evaluation that was cut off goes on with what is missing.
//
// Identity decides: the model's hash, the attention with every parameter, the options that numbers
// depend on, and the tokens of the case. A model that has changed finds no results.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/database.h"
#include "eval/eval_case.h"
#include "mechanisms/spec.h"

namespace foveate {

struct EvalModelId {
  std::string name;
  std::string sha256;  // of its file
};

struct EvalRun {
  std::string version, cpu, isa, arguments;
  int threads = 1;
};

struct StoredSetting {
  std::int64_t id = 0;
  std::string model;      // its name
  std::string name;       // of the attention, short
  std::string options;    // others that numbers depend on: "kv=f16/f16, activations=q8"
  bool decoding = false;  // evaluated as decoding
};

struct StoredResult {
  StoredSetting setting;
  std::int64_t question_id = 0;
  EvalCase question;  // without its tokens
  EvalOutcome outcome;
};

class EvalResults {
 public:
  // Opens a file or makes it. Throws Error(kCorruptFile) for a file that is damaged or none of
  // these, which it leaves as it is.
  explicit EvalResults(const std::string& path);

  // Ids of what is there already, or added now.
  std::int64_t Setting(const EvalModelId& model, const AttentionSpec& attention,
                       const std::string& options, bool decoding);
  std::int64_t Case(const EvalCase& question);

  // The run that results are added to from now on.
  void Begin(const EvalRun& run);
  void End();

  bool Has(std::int64_t setting, std::int64_t question) const;

  // Adds outcomes of one case, by setting: all or none.
  void Put(std::int64_t question, const std::map<std::int64_t, EvalOutcome>& outcomes);

  // Where and by what the results were made: "AMD EPYC, avx2, 2 threads, foveate 0.1.0".
  std::vector<std::string> Machines() const;

  // Everything there is, by model, setting, task, context and case.
  std::vector<StoredResult> All() const;

 private:
  Database database_;
  std::int64_t run_ = 0;
};

}  // namespace foveate
