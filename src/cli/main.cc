// The `foveate` program: parses the command line, runs one verb, turns errors into one line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <clocale>
#include <cstdio>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <string>

#include "base/log.h"
#include "cli/interrupt.h"
#include "cli/verbs.h"
#include "foveate/error.h"

namespace foveate::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  foveate pull smollm2                          get the default model (98 MB)
  foveate run smollm2                           chat with it
  foveate run smollm2 -p "Tell me a joke"       one answer
  cat notes.txt | foveate run smollm2           the prompt from standard input
  foveate bench llm smollm2                     how fast is this machine?

MODEL is a GGUF file, a known name (see `foveate list`) or hf:organisation/repository/file.gguf.
Exit status: 0 done, 1 a check failed, 2 bad input, 3 internal fault, 130 interrupted.)";

bool WantsJson(int argc, char** argv) {
  return std::any_of(argv, argv + argc,
                     [](const char* arg) { return std::string(arg) == "--json"; });
}

// Errors go to standard error as one line; with --json standard output gets an object as well.
void Report(bool json, const std::string& code, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  fmt::print(stderr, "foveate: {}\n", message);
  if (!json) return;
  const nlohmann::ordered_json object = {{"error", {{"code", code}, {"message", message}}}};
  fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

int Main(int argc, char** argv) {
  CLI::App app{"Foveate: on-device attention, sharp where it matters, cheap everywhere else"};
  app.name("foveate");
  app.set_version_flag("--version", "foveate " FOVEATE_VERSION);
  app.footer(kFooter);
  Work work;
  AddRunVerb(app, work);
  AddTokenizeVerb(app, work);
  AddScoreVerb(app, work);
  AddCheckVerb(app, work);
  AddEvalVerb(app, work);
  AddReportVerb(app, work);
  AddInspectVerb(app, work);
  AddAttendVerb(app, work);
  AddMechanismsVerb(app, work);
  AddShowVerb(app, work);
  AddPlanVerb(app, work);
  AddBenchVerb(app, work);
  AddInfoVerb(app, work);
  AddPullVerb(app, work);
  AddListVerb(app, work);
  AddRmVerb(app, work);

  const bool json = WantsJson(argc, argv);
  try {
    app.parse(argc, argv);
    if (!work) {
      Report(json, "usage", "a verb is required, for example: foveate run smollm2 (see --help)");
      return kExitBadInput;
    }
    return work();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    Report(json, "usage", std::string(error.what()) + " (see --help)");
    return kExitBadInput;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) return kExitInterrupted;
    Report(json, ErrorCodeName(error.code()), error.what());
    return kExitBadInput;
  } catch (const std::bad_alloc&) {
    Report(json, "limit", "out of memory");
    return kExitBadInput;
  } catch (const std::exception& error) {
    Report(json, "internal", std::string("internal fault: ") + error.what());
    return kExitInternal;
  }
}

}  // namespace
}  // namespace foveate::cli

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  foveate::SetWarningSink(
      [](const std::string& line) { fmt::print(stderr, "warning: {}\n", line); });
  foveate::cli::CatchInterrupts();
  const int code = foveate::cli::Main(argc, argv);
  // A reader that went away, or a full disk, must not look like success.
  if (std::fflush(stdout) != 0 && code == 0) {
    fmt::print(stderr, "foveate: cannot write to standard output\n");
    return foveate::cli::kExitBadInput;
  }
  return code;
}
