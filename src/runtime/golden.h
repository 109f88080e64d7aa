// Expected outputs of a language model: prompts with logits, greedy continuations and likelihoods
// computed by a float64 reference, as stored in a JSON file, and how far an honest engine may be
// from them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/session.h"

namespace foveate {

// The largest deviations allowed for one kind of arithmetic. They derive from measured errors of
// independent engines with the same rounding (docs/correctness.md).
struct GoldenTolerance {
  std::string name;       // "f32 activations, f32 cache", ...
  double logit_max;       // of any stored logit
  double logit_rms;       // over the sample of a prompt
  double logit_rms_mean;  // of those, over the prompts
  double top_gap;         // golden top-20 ids this far above the 20th must be in our top 20,
  int top_golden = 0;     // or, if set: of the first `top_golden` golden ids
  int top_engine = 0;     // at least `top_least` must be among our first `top_engine`
  int top_least = 0;
  double logprob_max;  // of golden greedy tokens, teacher-forced
  double logprob_mean;
  double margin;     // a greedy choice may differ only where the golden margin is below
  double agreement;  // share of greedy choices that must be equal
  double mean_nll;   // nats
};

// The tolerances for the model that the golden file names and the rounding of `options`.
GoldenTolerance ToleranceFor(const nlohmann::json& golden, const DecoderOptions& options);

struct GoldenPromptResult {
  std::string name;
  std::int64_t tokens = 0;
  double logit_max = 0;
  double logit_rms = 0;
  double logprob_max = 0;
  double logprob_sum = 0;  // of absolute differences
  std::int64_t steps = 0;  // greedy steps compared
  std::int64_t agreed = 0;
  std::int64_t first_mismatch = -1;  // step; -1: none
  double mismatch_margin = 0;
  std::vector<std::string> violations;
};

struct GoldenNllResult {
  std::string name;  // "512/256", "1024 second half"
  double expected = 0;
  double measured = 0;
  bool violated = false;
};

struct GoldenReport {
  GoldenTolerance tolerance;
  std::vector<GoldenPromptResult> prompts;
  std::vector<GoldenNllResult> nll;
  std::vector<std::string> violations;  // all of them, each one line

  bool passed() const { return violations.empty(); }
};

struct GoldenOptions {
  std::vector<std::int64_t> chunks = {1, 7, 64, 512};  // prompt chunk sizes to try, each
  bool nll = true;
  std::function<void(const std::string& what)> on_step;  // may throw to stop
};

// Reads a golden file; throws Error(kCorruptFile) naming what is missing.
nlohmann::json ReadGolden(const std::string& path);

// Holds the model against `golden`; text files that it names are looked for in `folder`.
GoldenReport CheckGolden(Context& context, const std::shared_ptr<const LanguageModel>& model,
                         DecoderOptions options, const nlohmann::json& golden,
                         const std::string& folder, const GoldenOptions& check = {});

}  // namespace foveate
