#include "cli/sampling_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/throw.h"

namespace foveate::cli {
namespace {

std::string FlagName(std::string_view parameter) {
  std::string flag = "--" + std::string(parameter);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return parameter == "temperature" ? "--temp," + flag : flag;
}

void AddParameter(CLI::App& verb, const SamplingParameter& parameter, SamplingOptions& options) {
  verb.add_option_function<double>(
          FlagName(parameter.name),
          [&options, &parameter](double value) { SetSamplingParameter(options, parameter, value); },
          std::string(parameter.help))
      ->default_str(fmt::format("{}", GetSamplingParameter(options, parameter)))
      ->type_name(parameter.is_integer() ? "INT" : "NUMBER")
      ->group("Sampling");
}

// "15043:-1.5": what is added to the logit of one token.
std::pair<std::int32_t, double> ParseBias(const std::string& text) {
  const std::size_t colon = text.find(':');
  std::size_t id_end = 0, bias_end = 0;
  try {
    const std::int32_t id = std::stoi(text, &id_end);
    const std::string bias = text.substr(colon == std::string::npos ? text.size() : colon + 1);
    const double value = bias == "false" ? -100 : std::stod(bias, &bias_end);
    const bool whole = id_end == colon && (bias == "false" || bias_end == bias.size());
    if (whole && std::isfinite(value)) return {id, value};
  } catch (const std::exception&) {
    id_end = 0;  // one of them is no number: refused below
  }
  Throw(ErrorCode::kInvalidArgument, "--logit-bias: '{}' is not of the form ID:BIAS or ID:false",
        text);
}

}  // namespace

void AddGenerateFlags(CLI::App& verb, GenerateOptions& options) {
  verb.add_option("--max-tokens,-n", options.max_tokens,
                  "most tokens to generate; -1: until the context is full")
      ->check(CLI::Range(std::int64_t{-1}, std::int64_t{1} << 30))
      ->capture_default_str();
  verb.add_option("--stop", options.stop, "text that ends the answer (repeatable)")
      ->allow_extra_args(false);
  verb.add_flag("--ignore-eos", options.ignore_end, "generate on past end tokens");
  verb.add_option("--seed", options.sampling.seed, "seed (default: random, and reported)")
      ->group("Sampling");
  for (const SamplingParameter& parameter : SamplingParameters()) {
    AddParameter(verb, parameter, options.sampling);
  }
  verb.add_option("--samplers", options.sampling.samplers, "order of the stages, by name")
      ->delimiter(',')
      ->group("Sampling");
  verb.add_option("--dry-breaker", options.sampling.dry_breakers,
                  "text that a repetition may not reach across (repeatable)")
      ->allow_extra_args(false)
      ->group("Sampling");
  verb.add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [&options](const std::vector<std::string>& entries) {
            for (const std::string& entry : entries) {
              options.sampling.logit_bias.push_back(ParseBias(entry));
            }
          },
          "ID:BIAS added to a token's logit, ID:false bans it (repeatable)")
      ->allow_extra_args(false)
      ->group("Sampling");
}

}  // namespace foveate::cli
