// `foveate check llm`: holds the engine against expected outputs and prints how far off it is.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "runtime/golden.h"

namespace foveate::cli {
namespace {

struct CheckOptions {
  ModelOptions model;
  std::string golden;
  std::vector<std::int64_t> chunks = {1, 7, 64, 512};
  bool no_nll = false;
  bool json = false;
};

void PrintTable(const GoldenReport& report) {
  fmt::print("tolerances for {}\n\n", report.tolerance.name);
  fmt::print("{:<14} {:>6} {:>10} {:>10} {:>10} {:>7} {:>9} {:>8}\n", "prompt", "n", "max", "rms",
             "logprob", "agree", "mismatch", "margin");
  for (const GoldenPromptResult& prompt : report.prompts) {
    const bool differs = prompt.first_mismatch >= 0;
    fmt::print("{:<14} {:>6} {:>10.2e} {:>10.2e} {:>10.2e} {:>7} {:>9} {:>8}{}\n", prompt.name,
               prompt.tokens, prompt.logit_max, prompt.logit_rms, prompt.logprob_max,
               fmt::format("{}/{}", prompt.agreed, prompt.steps),
               differs ? fmt::format("step {}", prompt.first_mismatch) : "-",
               differs ? fmt::format("{:.4f}", prompt.mismatch_margin) : "-",
               prompt.violations.empty() ? "" : "  VIOLATED");
  }
  if (!report.nll.empty()) {
    fmt::print("\n{:<22} {:>10} {:>10} {:>11}\n", "mean NLL, window", "expected", "measured",
               "difference");
  }
  for (const GoldenNllResult& row : report.nll) {
    fmt::print("{:<22} {:>10.5f} {:>10.5f} {:>+11.5f}{}\n", row.name, row.expected, row.measured,
               row.measured - row.expected, row.violated ? "  VIOLATED" : "");
  }
  fmt::print("\n");
  for (const std::string& violation : report.violations) fmt::print("violated: {}\n", violation);
  fmt::print("{}\n", report.passed() ? "all within tolerance" : "NOT within tolerance");
}

void PrintReportJson(const GoldenReport& report) {
  nlohmann::ordered_json prompts = nlohmann::ordered_json::array();
  for (const GoldenPromptResult& prompt : report.prompts) {
    prompts.push_back({{"name", prompt.name},
                       {"tokens", prompt.tokens},
                       {"logit_max", prompt.logit_max},
                       {"logit_rms", prompt.logit_rms},
                       {"logprob_max", prompt.logprob_max},
                       {"agreed", prompt.agreed},
                       {"steps", prompt.steps},
                       {"first_mismatch", prompt.first_mismatch},
                       {"mismatch_margin", prompt.mismatch_margin}});
  }
  nlohmann::ordered_json nll = nlohmann::ordered_json::array();
  for (const GoldenNllResult& row : report.nll) {
    nll.push_back({{"window", row.name}, {"expected", row.expected}, {"measured", row.measured}});
  }
  PrintJson({{"tolerance", report.tolerance.name},
             {"passed", report.passed()},
             {"violations", report.violations},
             {"prompts", prompts},
             {"nll", nll}});
}

int CheckLlm(const CheckOptions& options) {
  const nlohmann::json golden = ReadGolden(options.golden);
  const OpenedModel opened = OpenModel(options.model);
  ProgressBar bar("checking");
  const GoldenReport report = CheckGolden(
      *opened.context, opened.model, opened.decoder, golden,
      std::filesystem::absolute(options.golden).parent_path().string(),
      {.chunks = options.chunks, .nll = !options.no_nll, .on_step = [&](const std::string& what) {
         ThrowIfInterrupted();
         bar.Update(-1, what);
       }});
  bar.Clear();
  if (options.json) {
    PrintReportJson(report);
  } else {
    PrintTable(report);
  }
  return report.passed() ? kExitOk : kExitCheckFailed;
}

}  // namespace

void AddCheckVerb(CLI::App& app, Work& work) {
  CLI::App* verb = app.add_subcommand("check", "Hold the engine against expected outputs");
  verb->require_subcommand(1);
  auto options = std::make_shared<CheckOptions>();
  CLI::App* llm = verb->add_subcommand(
      "llm",
      "Logits, greedy text and likelihoods of a language model; exit status 1 when one is "
      "out of tolerance");
  AddModelArgument(*llm, options->model);
  llm->add_option("golden", options->golden, "JSON file of expected outputs")
      ->required()
      ->type_name("GOLDEN.json");
  AddDecoderOptions(*llm, options->model);
  llm->add_option("--chunks", options->chunks, "prompt chunk sizes to try")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}))
      ->capture_default_str();
  llm->add_flag("--no-nll", options->no_nll, "skip the likelihoods of long windows");
  llm->add_flag("--json", options->json, "print one JSON object");
  llm->callback([options, &work] { work = [options] { return CheckLlm(*options); }; });
}

}  // namespace foveate::cli
