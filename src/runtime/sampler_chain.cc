#include "runtime/sampler_chain.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/throw.h"

namespace foveate {

namespace {

// What a stage sees of the chain while it runs.
struct StageRun {
  Candidates& candidates;
  std::span<const TokenId> history;
  Random& random;
  const std::vector<double>& p;
  const std::vector<LogitBias>& biases;
  const DryBreakers& breakers;
  TokenTally& tally;
  DryScratch& dry_scratch;

  std::int64_t Int(std::size_t i) const { return static_cast<std::int64_t>(p[i]); }
};

using Names = std::span<const std::string_view>;

constexpr std::array<std::string_view, 4> kPenalties = {"repeat_last_n", "repeat_penalty",
                                                        "frequency_penalty", "presence_penalty"};
constexpr std::array<std::string_view, 4> kDry = {"dry_multiplier", "dry_base",
                                                  "dry_allowed_length", "dry_last_n"};
constexpr std::array<std::string_view, 1> kTopNSigma = {"top_n_sigma"};
constexpr std::array<std::string_view, 1> kTopK = {"top_k"};
constexpr std::array<std::string_view, 2> kTypicalP = {"typical_p", "min_keep"};
constexpr std::array<std::string_view, 2> kTopP = {"top_p", "min_keep"};
constexpr std::array<std::string_view, 2> kMinP = {"min_p", "min_keep"};
constexpr std::array<std::string_view, 2> kXtc = {"xtc_probability", "xtc_threshold"};
constexpr std::array<std::string_view, 1> kTemperature = {"temperature"};
constexpr std::array<std::string_view, 3> kDynamicTemperature = {"temperature", "dynamic_range",
                                                                 "dynamic_exponent"};

constexpr std::string_view kLogitBias = "logit_bias";

constexpr auto kStages = std::to_array<StageInfo>({
    {kLogitBias, {}, false},
    {"penalties", kPenalties, false},
    {"dry", kDry, false},
    {"top_n_sigma", kTopNSigma, true},
    {"top_k", kTopK, true},
    {"typical_p", kTypicalP, true},
    {"top_p", kTopP, true},
    {"min_p", kMinP, true},
    {"xtc", kXtc, true},
    {"temperature", kTemperature, false},
    {"dynamic_temperature", kDynamicTemperature, false},
});

using StageFunction = void (*)(const StageRun&);

// In the order of kStages.
constexpr std::array<StageFunction, kStages.size()> kFunctions = {
    [](const StageRun& run) { ApplyLogitBias(run.candidates, run.biases); },
    [](const StageRun& run) {
      ApplyPenalties(run.candidates, run.history, {run.Int(0), run.p[1], run.p[2], run.p[3]},
                     run.tally);
    },
    [](const StageRun& run) {
      ApplyDry(run.candidates, run.history, {run.p[0], run.p[1], run.Int(2), run.Int(3)},
               run.breakers, run.tally, run.dry_scratch);
    },
    [](const StageRun& run) { TopNSigma(run.candidates, run.p[0]); },
    [](const StageRun& run) { TopK(run.candidates, run.Int(0)); },
    [](const StageRun& run) { TypicalP(run.candidates, run.p[0], run.Int(1)); },
    [](const StageRun& run) { TopP(run.candidates, run.p[0], run.Int(1)); },
    [](const StageRun& run) { MinP(run.candidates, run.p[0], run.Int(1)); },
    [](const StageRun& run) { Xtc(run.candidates, run.p[0], run.p[1], run.random); },
    [](const StageRun& run) { Temperature(run.candidates, run.p[0]); },
    [](const StageRun& run) { DynamicTemperature(run.candidates, run.p[0], run.p[1], run.p[2]); },
};

std::size_t FindStage(std::string_view name) {
  const auto found = std::find_if(kStages.begin(), kStages.end(),
                                  [&](const StageInfo& stage) { return stage.name == name; });
  if (found != kStages.end()) return found - kStages.begin();
  Throw(ErrorCode::kInvalidArgument, "there is no sampler stage called '{}'", name);
}

std::vector<LogitBias> ParseBiases(const std::vector<double>& pairs, std::int64_t vocabulary) {
  if (pairs.size() % 2 != 0) {
    Throw(ErrorCode::kInvalidArgument, "logit_bias takes pairs of id and bias, got {} numbers",
          pairs.size());
  }
  std::vector<LogitBias> biases;
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    if (!(pairs[i] >= 0 && pairs[i] < static_cast<double>(vocabulary))) {
      Throw(ErrorCode::kInvalidArgument, "logit_bias names token {}, expected 0 to {}", pairs[i],
            vocabulary - 1);
    }
    biases.emplace_back(static_cast<TokenId>(pairs[i]), pairs[i + 1]);
  }
  return biases;
}

std::vector<double> CompleteParameters(const StageInfo& stage, std::vector<double> parameters) {
  if (parameters.size() > stage.parameters.size()) {
    Throw(ErrorCode::kInvalidArgument, "sampler '{}' takes {} parameters, got {}", stage.name,
          stage.parameters.size(), parameters.size());
  }
  for (std::size_t i = 0; i < stage.parameters.size(); ++i) {
    const SamplingParameter& parameter = FindSamplingParameter(stage.parameters[i]);
    if (i == parameters.size()) parameters.push_back(GetSamplingParameter({}, parameter));
    CheckSamplingParameter(parameter, parameters[i]);
  }
  return parameters;
}

StageSpec SpecFromOptions(std::string_view name, const SamplingOptions& options) {
  StageSpec spec{.name = std::string(name), .parameters = {}};
  for (const std::string_view parameter : kStages[FindStage(name)].parameters) {
    spec.parameters.push_back(GetSamplingParameter(options, FindSamplingParameter(parameter)));
  }
  return spec;
}

}  // namespace

std::span<const StageInfo> SamplerStages() { return kStages; }

std::vector<StageSpec> StagesFromOptions(const SamplingOptions& options) {
  CheckSamplingOptions(options);
  std::vector<StageSpec> stages;
  if (!options.logit_bias.empty()) {
    StageSpec& biases = stages.emplace_back(StageSpec{std::string(kLogitBias), {}});
    for (const auto& [id, bias] : options.logit_bias) {
      biases.parameters.insert(biases.parameters.end(), {static_cast<double>(id), bias});
    }
  }
  std::vector<std::string_view> names(options.samplers.begin(), options.samplers.end());
  if (names.empty()) names.assign(DefaultSamplerOrder().begin(), DefaultSamplerOrder().end());
  for (std::string_view name : names) {
    if (options.mirostat != 0 && kStages[FindStage(name)].truncates) continue;
    if (name == "temperature" && options.dynamic_range > 0) name = "dynamic_temperature";
    stages.push_back(SpecFromOptions(name, options));
  }
  return stages;
}

SamplerChain::SamplerChain(std::span<const StageSpec> stages, const ChainContext& context)
    : breakers_(context.breakers), tally_(context.vocabulary) {
  for (const StageSpec& spec : stages) {
    Stage& stage = stages_.emplace_back(Stage{.row = FindStage(spec.name)});
    if (spec.name == kLogitBias) {
      stage.biases = ParseBiases(spec.parameters, context.vocabulary);
    } else {
      stage.parameters = CompleteParameters(kStages[stage.row], spec.parameters);
    }
  }
}

void SamplerChain::Apply(Candidates& candidates, std::span<const TokenId> history, Random& random) {
  const auto check_alive = [&] {
    if (std::isinf(candidates.MaxLogit())) {
      Throw(ErrorCode::kBadRequest,
            "no token can follow at position {}: all {} candidates are banned", history.size(),
            candidates.size());
    }
  };
  check_alive();
  for (const Stage& stage : stages_) {
    kFunctions[stage.row]({candidates, history, random, stage.parameters, stage.biases, breakers_,
                           tally_, dry_scratch_});
    check_alive();
  }
}

}  // namespace foveate
