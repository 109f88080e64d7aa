// `foveate report`: all that a file of results holds, as a page with pictures or as text.
#include <fmt/format.h>

#include <filesystem>

#include "base/throw.h"
#include "cli/eval_table.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "eval/results.h"

namespace foveate::cli {
namespace {

struct Flags {
  std::string database = "foveate-eval.db";
  std::string output;
  std::string title = "Attention compared";
  bool json = false;
};

int Report(const Flags& flags) {
  if (!std::filesystem::exists(flags.database)) {
    Throw(ErrorCode::kNotFound, "{}: no such file of results (see `foveate eval`)", flags.database);
  }
  const EvalResults results(flags.database);
  const std::vector<EvalSummary> summaries = Summarise(results.All());
  const std::vector<std::string> machines = results.Machines();
  if (flags.json) PrintJson({{"machines", machines}, {"rows", SummaryJson(summaries)}});
  if (flags.output.empty()) {
    if (!flags.json) fmt::print("{}", SummaryText(summaries));
    return kExitOk;
  }
  const std::string ending = std::filesystem::path(flags.output).extension();
  if (ending == ".html") {
    WriteFile(flags.output, SummaryPage(summaries, machines, flags.title));
  } else if (ending == ".md") {
    WriteFile(flags.output, SummaryMarkdown(summaries, machines));
  } else {
    Throw(ErrorCode::kInvalidArgument, "{}: expected a name that ends in .html or .md",
          flags.output);
  }
  return kExitOk;
}

}  // namespace

void AddReportVerb(CLI::App& app, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb =
      app.add_subcommand("report", "Results of `foveate eval` as a page with tables and pictures");
  verb->footer("Example:\n  foveate report foveate-eval.db -o report.html");
  verb->add_option("database", flags->database, "the file of results")->capture_default_str();
  verb->add_option("-o,--output", flags->output, "write this .html or .md file");
  verb->add_option("--title", flags->title, "of the page")->capture_default_str();
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return Report(*flags); }; });
}

}  // namespace foveate::cli
