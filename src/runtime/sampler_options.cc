// The table of numeric sampling options and the checks made from it (foveate/sampling.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/throw.h"
#include "foveate/sampling.h"

namespace foveate {
namespace {

constexpr double kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr double kMax = std::numeric_limits<float>::max();

constexpr auto kParameters = std::to_array<SamplingParameter>({
    {"temperature", "randomness; 0 always takes the most likely token", 0, 10, false,
     &SamplingOptions::temperature},
    {"dynamic_range", "let the temperature follow the entropy, by plus or minus this much", 0, 10,
     false, &SamplingOptions::dynamic_range},
    {"dynamic_exponent", "shape of the dynamic temperature", 0, 100, false,
     &SamplingOptions::dynamic_exponent},
    {"top_k", "keep the K most likely tokens; 0 keeps all", -1, kMaxInt, false,
     &SamplingOptions::top_k},
    {"top_p", "keep the most likely tokens that together reach this probability; 1 keeps all", 0, 1,
     false, &SamplingOptions::top_p},
    {"min_p", "keep tokens with at least this share of the best one's probability", 0, 1, false,
     &SamplingOptions::min_p},
    {"typical_p", "keep the most typical tokens up to this probability; 1 keeps all", 0, 1, false,
     &SamplingOptions::typical_p},
    {"top_n_sigma", "keep logits within N standard deviations of the best; 0 keeps all", -1, 1000,
     false, &SamplingOptions::top_n_sigma},
    {"min_keep", "top_p, min_p and typical_p keep at least so many tokens", 1, kMaxInt, false,
     &SamplingOptions::min_keep},
    {"xtc_probability", "chance of excluding the top choices", 0, 1, false,
     &SamplingOptions::xtc_probability},
    {"xtc_threshold", "probability that makes a token a top choice; above 0.5 turns it off", 0, 1,
     false, &SamplingOptions::xtc_threshold},
    {"repeat_last_n", "how many tokens back penalties look; 0 none, -1 the whole context", -1,
     kMaxInt, false, &SamplingOptions::repeat_last_n},
    {"repeat_penalty", "divides the logits of repeated tokens; 1 is off", 0, kMax, true,
     &SamplingOptions::repeat_penalty},
    {"frequency_penalty", "subtracted for each time that a token occurred", -2, 2, false,
     &SamplingOptions::frequency_penalty},
    {"presence_penalty", "subtracted if a token occurred at all", -2, 2, false,
     &SamplingOptions::presence_penalty},
    {"dry_multiplier", "strength of the penalty on repeated sequences (DRY); 0 is off", 0, 1000,
     false, &SamplingOptions::dry_multiplier},
    {"dry_base", "growth of the DRY penalty with each further token", 1, 1000, false,
     &SamplingOptions::dry_base},
    {"dry_allowed_length", "repeated sequences shorter than this are free of DRY", 1, kMaxInt,
     false, &SamplingOptions::dry_allowed_length},
    {"dry_last_n", "how many tokens back DRY looks; 0 none, -1 the whole context", -1, kMaxInt,
     false, &SamplingOptions::dry_last_n},
    {"mirostat", "hold the surprise per token steady: version 1 or 2; 0 is off", 0, 2, false,
     &SamplingOptions::mirostat},
    {"mirostat_tau", "the surprise that mirostat aims at, in bits", 0, 100, false,
     &SamplingOptions::mirostat_tau},
    {"mirostat_eta", "how fast mirostat learns", 0, 1, false, &SamplingOptions::mirostat_eta},
    {"top_logprobs", "report the log-probabilities of so many alternatives", 0, 20, false,
     &SamplingOptions::top_logprobs},
});

constexpr auto kOrder = std::to_array<std::string_view>({
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typical_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
});

void CheckBiases(const SamplingOptions& options) {
  for (const auto& [id, bias] : options.logit_bias) {
    // -inf is a fair way to say "never".
    if (std::isnan(bias) || bias > kMax) {
      Throw(ErrorCode::kInvalidArgument,
            "logit_bias of token {} is {}, expected a finite number (-100 or less bans it)", id,
            bias);
    }
    if (id < 0) Throw(ErrorCode::kInvalidArgument, "logit_bias names token {}, below 0", id);
  }
}

}  // namespace

std::span<const SamplingParameter> SamplingParameters() { return kParameters; }

std::span<const std::string_view> DefaultSamplerOrder() { return kOrder; }

const SamplingParameter& FindSamplingParameter(std::string_view name) {
  for (const SamplingParameter& parameter : kParameters) {
    if (parameter.name == name) return parameter;
  }
  Throw(ErrorCode::kInvalidArgument, "there is no sampling option called '{}'", name);
}

double GetSamplingParameter(const SamplingOptions& options, const SamplingParameter& parameter) {
  return std::visit([&](const auto field) { return static_cast<double>(options.*field); },
                    parameter.field);
}

void CheckSamplingParameter(const SamplingParameter& parameter, double value) {
  const bool low =
      parameter.above_minimum ? !(value > parameter.minimum) : !(value >= parameter.minimum);
  const bool fraction = parameter.is_integer() && value != std::floor(value);
  if (!low && value <= parameter.maximum && !fraction) return;
  const char* const kind = parameter.is_integer() ? "a whole number" : "a number";
  if (parameter.above_minimum) {
    Throw(ErrorCode::kInvalidArgument, "{} must be {} above {}, got {}", parameter.name, kind,
          parameter.minimum, value);
  }
  if (parameter.maximum == kMaxInt) {
    Throw(ErrorCode::kInvalidArgument, "{} must be {} of at least {}, got {}", parameter.name, kind,
          parameter.minimum, value);
  }
  Throw(ErrorCode::kInvalidArgument, "{} must be {} from {} to {}, got {}", parameter.name, kind,
        parameter.minimum, parameter.maximum, value);
}

void SetSamplingParameter(SamplingOptions& options, const SamplingParameter& parameter,
                          double value) {
  CheckSamplingParameter(parameter, value);
  std::visit(
      [&](const auto field) {
        using Field = std::remove_reference_t<decltype(options.*field)>;
        options.*field = static_cast<Field>(value);
      },
      parameter.field);
}

void CheckSamplingOptions(const SamplingOptions& options) {
  for (const SamplingParameter& parameter : kParameters) {
    CheckSamplingParameter(parameter, GetSamplingParameter(options, parameter));
  }
  CheckBiases(options);
  for (const std::string& name : options.samplers) {
    if (std::find(kOrder.begin(), kOrder.end(), name) != kOrder.end()) continue;
    std::string names;
    for (const std::string_view known : kOrder) names.append(names.empty() ? "" : ", ") += known;
    Throw(ErrorCode::kInvalidArgument, "unknown sampler '{}', expected one of {}", name, names);
  }
}

}  // namespace foveate
