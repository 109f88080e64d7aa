// A sampler chain: stages applied in the order in which they are listed.
//
//   SamplerChain chain({{{"top_k", {40}}, {"temperature", {0.7}}}}, {.vocabulary = 49152});
//   candidates.Reset(logits);
//   chain.Apply(candidates, history, random);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "foveate/sampling.h"
#include "runtime/random.h"
#include "runtime/sampler_candidates.h"
#include "runtime/sampler_dry.h"
#include "runtime/sampler_stages.h"

namespace foveate {

// What a stage is called and which options it takes, in this order (names of SamplingParameters()).
struct StageInfo {
  std::string_view name;
  std::span<const std::string_view> parameters;
  bool truncates;  // mirostat takes the place of such stages
};

std::span<const StageInfo> SamplerStages();

// Parameters left out at the end have their defaults. "logit_bias" takes pairs: id, bias, id, ...
struct StageSpec {
  std::string name;
  std::vector<double> parameters = {};
};

// The stages that the options ask for. Throws Error(kInvalidArgument) for options out of range.
std::vector<StageSpec> StagesFromOptions(const SamplingOptions& options);

struct ChainContext {
  std::int64_t vocabulary = 0;                   // tokens; candidates' ids lie below
  std::span<const TokenSequence> breakers = {};  // of the "dry" stage
};

class SamplerChain {
 public:
  // Throws Error(kInvalidArgument) for unknown names, too many parameters and values out of range.
  SamplerChain(std::span<const StageSpec> stages, const ChainContext& context);

  // Throws Error(kBadRequest) when no candidate with a finite logit is left.
  void Apply(Candidates& candidates, std::span<const TokenId> history, Random& random);

 private:
  struct Stage {
    std::size_t row;  // of the table of stages
    std::vector<double> parameters = {};
    std::vector<LogitBias> biases = {};
  };

  std::vector<Stage> stages_;
  DryBreakers breakers_;
  TokenTally tally_;
  DryScratch dry_scratch_;
};

}  // namespace foveate
