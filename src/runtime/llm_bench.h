// Speed of a language model on this machine: prompt reading and token generation, at given depths.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/decoder.h"

namespace foveate {

struct LlmBenchOptions {
  std::vector<std::int64_t> prompts = {512};     // tokens read at once; empty: no prefill rows
  std::vector<std::int64_t> generations = {64};  // tokens generated one by one
  std::vector<std::int64_t> depths = {0};        // tokens already in the cache
  int repetitions = 5;                           // measured, after one that is not
  std::function<void(const std::string& what)> on_step;  // may throw to stop
};

struct LlmBenchRow {
  std::string test;  // "prefill" or "decode"
  std::int64_t tokens = 0;
  std::int64_t depth = 0;
  std::vector<double> seconds;  // of each repetition
  double macs_per_token = 0;    // multiply-accumulates with weights
  double bytes_per_token = 0;   // weights and cache read, for decode

  double median_seconds() const;
  double tokens_per_second() const { return static_cast<double>(tokens) / median_seconds(); }
  // (slowest - fastest) / median of the repetitions.
  double spread() const;
};

// Logits are computed for the last token of a prompt and for each generated one; sampling and text
// are not part of it. Throws Error(kLimit) when depth and tokens exceed the decoder's context.
std::vector<LlmBenchRow> BenchLlm(Decoder& decoder, const LlmBenchOptions& options);

}  // namespace foveate
