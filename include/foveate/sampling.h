// How the next token is chosen from a model's logits: the options that a request carries, and the
// table that describes each number among them, so that a command line or a server can offer and
// check them all without repeating names, defaults or ranges.
//
//   SamplingOptions options = {.temperature = 0.7, .top_k = 20, .seed = 42};
//   for (const SamplingParameter& p : SamplingParameters()) AddFlag(p.name, p.help, p);
//   CheckSamplingOptions(options);  // throws Error naming the parameter that is out of range
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace foveate {

struct SamplingOptions {
  double temperature = 0.8;  // 0: always the most likely token
  double dynamic_range = 0;  // temperature varies with the entropy by plus or minus this much
  double dynamic_exponent = 1;

  std::int64_t top_k = 40;    // <= 0: all
  double top_p = 0.95;        // 1: off
  double min_p = 0.05;        // 0: off
  double typical_p = 1;       // 1: off
  double top_n_sigma = 0;     // <= 0: off
  std::int64_t min_keep = 1;  // top_p, typical_p and min_p leave at least so many candidates

  double xtc_probability = 0;  // 0: off
  double xtc_threshold = 0.1;  // above 0.5: off

  std::int64_t repeat_last_n = 64;  // 0: off, -1: the whole context
  double repeat_penalty = 1;
  double frequency_penalty = 0;
  double presence_penalty = 0;

  double dry_multiplier = 0;  // 0: off
  double dry_base = 1.75;
  std::int64_t dry_allowed_length = 2;
  std::int64_t dry_last_n = 64;  // -1: the whole context
  std::vector<std::string> dry_breakers = {"\n", ":", "\"", "*"};

  std::int64_t mirostat = 0;  // 0: off, 1 or 2: the version; replaces the truncation filters
  double mirostat_tau = 5;
  double mirostat_eta = 0.1;

  // {token id, what is added to its logit}; -100 and less bans the token for good.
  std::vector<std::pair<std::int32_t, double>> logit_bias = {};

  // The order of the stages, by name; empty: DefaultSamplerOrder(). A stage that is not in the list
  // is off. The biases always come first.
  std::vector<std::string> samplers = {};

  std::optional<std::uint64_t> seed = {};  // none: random, and reported by the sampler
  bool logprobs = false;                   // report the log-probability of each token
  std::int64_t top_logprobs = 0;  // and those of the most likely ones, 0..20; implies logprobs
};

// One numeric option.
struct SamplingParameter {
  std::string_view name;  // as in SamplingOptions; a command line spells "top_k" as --top-k
  std::string_view help;
  double minimum;
  double maximum;
  bool above_minimum;  // the minimum itself is outside the range
  std::variant<double SamplingOptions::*, std::int64_t SamplingOptions::*> field;

  bool is_integer() const { return field.index() == 1; }
};

// Every numeric option, in the order of the help text.
std::span<const SamplingParameter> SamplingParameters();
// The row called `name`; throws Error(kInvalidArgument) for an unknown name.
const SamplingParameter& FindSamplingParameter(std::string_view name);

double GetSamplingParameter(const SamplingOptions& options, const SamplingParameter& parameter);
// Both throw Error(kInvalidArgument) naming the parameter, the value and the range, also for NaN
// and, where a whole number is wanted, for a fraction.
void CheckSamplingParameter(const SamplingParameter& parameter, double value);
void SetSamplingParameter(SamplingOptions& options, const SamplingParameter& parameter,
                          double value);

// Checks every number, the biases and the names in `samplers`; throws Error(kInvalidArgument).
void CheckSamplingOptions(const SamplingOptions& options);

// The stages that `samplers` may name, in their default order.
std::span<const std::string_view> DefaultSamplerOrder();

// A token and the natural logarithm of its probability.
struct TokenLogprob {
  std::int32_t id = -1;
  float logprob = 0;
};

}  // namespace foveate
