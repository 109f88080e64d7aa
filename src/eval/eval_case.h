// A case: what is put to a model, the same for every way of attention; and what came of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace foveate {

enum class EvalTask { kPerplexity, kPasskey, kNeedle };

constexpr EvalTask kEvalTasks[] = {EvalTask::kPerplexity, EvalTask::kPasskey, EvalTask::kNeedle};

// "perplexity", "passkey", "needle"
std::string_view EvalTaskName(EvalTask task);

// Throws Error(kInvalidArgument) with the names that there are.
EvalTask ParseEvalTask(std::string_view name);

struct EvalCase {
  EvalTask task = EvalTask::kPerplexity;
  std::int64_t context = 0;     // tokens at most, those of the answer included
  std::int64_t number = 0;      // the place of a window in its text; the seed of a question
  double depth = 0;             // where the answer lies, 0 to 1; not of perplexity
  std::vector<TokenId> tokens;  // a window; a prompt
  std::string key = {};         // the number to be found; not of perplexity
};

struct EvalOutcome {
  // Perplexity, of the targets in the second half of a window.
  std::vector<float> nll;  // nats
  double divergence = 0;   // mean KL(baseline || this), nats
  double agreement = 1;    // share of targets whose likeliest token is the baseline's

  // Questions.
  std::string answer;
  bool correct = false;

  // What it took. Attention is that of layers without a window of their own; for what is evaluated
  // as decoding, of the single steps.
  double seconds = 0;
  double attention_seconds = 0;  // choosing of keys included
  double selection_seconds = 0;  // of them choosing of keys by content
  double density = 1;            // attended over causal pairs
};

}  // namespace foveate
