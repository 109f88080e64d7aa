// `foveate run`: one answer, or a chat at the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/repl.h"
#include "cli/run_report.h"
#include "cli/sampling_flags.h"
#include "cli/verbs.h"
#include "runtime/chat.h"
#include "runtime/chat_prompt.h"

namespace foveate::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  GenerateOptions generate;
  std::string prompt;
  std::string prompt_file;
  std::string system;
  bool raw = false;
  bool chat = false;
  bool special = false;
  bool json = false;
};

GenerateResult RunOnce(const RunOptions& options, Session& session, const std::string& prompt,
                       const GenerateHooks& hooks) {
  if (!options.raw) {
    ChatSession chat(session);
    chat.SetSystem(options.system);
    return chat.Send(prompt, options.generate, hooks);
  }
  const auto ids = session.model().tokenizer->Encode(prompt, {.parse_special = options.special});
  GenerateOptions generate = options.generate;
  generate.continues_text = true;
  return Generate(session, ids, generate, hooks);
}

int Run(RunOptions options) {
  CheckSamplingOptions(options.generate.sampling);
  if (!options.prompt.empty() && !options.prompt_file.empty()) {
    Throw(ErrorCode::kInvalidArgument, "give the prompt with -p or with -f, not with both");
  }
  const bool interactive = options.prompt.empty() && options.prompt_file.empty() &&
                           isatty(STDIN_FILENO) && !options.json;
  std::string prompt = options.prompt;
  if (!interactive && prompt.empty()) {
    prompt = ReadTextFile(options.prompt_file.empty() ? "-" : options.prompt_file);
  }
  const OpenedModel opened = OpenModel(options.model);
  if (opened.model->tokenizer == nullptr) {
    Throw(ErrorCode::kUnsupported, "{}: the file has no vocabulary to read and write text with",
          opened.model->file.path());
  }
  if (!options.chat && !HasChatTemplate(*opened.model)) options.raw = true;
  if (options.raw && !options.system.empty()) {
    Throw(ErrorCode::kInvalidArgument,
          "--system needs a chat template: it has no place in raw text");
  }
  Session session(*opened.context, opened.model, opened.decoder);
  if (interactive) {
    return RunRepl(session, {.generate = options.generate,
                             .system = options.system,
                             .raw = options.raw,
                             .parse_special = options.special});
  }

  ProgressBar bar("reading the prompt");
  GenerateHooks hooks = {
      .on_text = {}, .on_prefill = PrefillProgress(bar), .cancel = &Interrupted()};
  if (!options.json) {
    hooks.on_text = [&](std::string_view text) {
      bar.Clear();
      std::fwrite(text.data(), 1, text.size(), stdout);
      return std::fflush(stdout) == 0;
    };
  }
  const GenerateResult result = RunOnce(options, session, prompt, hooks);
  bar.Clear();
  if (options.json) {
    PrintJson(RunReportJson(result, session, opened.load_seconds));
  } else {
    fmt::print("\n");
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", RunReportLine(result, session));
  }
  return result.finish_reason == FinishReason::kCancelled ? kExitInterrupted : kExitOk;
}

}  // namespace

void AddRunVerb(CLI::App& app, Work& work) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* verb = app.add_subcommand("run", "Chat with a model, or get one answer");
  AddModelArgument(*verb, options->model);
  verb->add_option("-p,--prompt", options->prompt, "answer this and exit");
  verb->add_option("-f,--file", options->prompt_file, "read the prompt from a file (- for stdin)");
  verb->add_option("--system", options->system, "system message");
  auto* raw = verb->add_flag("--raw", options->raw,
                             "complete the text as it is, without the chat template (default for "
                             "models that have none)");
  verb->add_flag("--chat", options->chat, "insist on the chat template")->excludes(raw);
  verb->add_flag("--special", options->special, "with --raw: parse control tokens in the prompt")
      ->needs(raw);
  verb->add_flag("--json", options->json, "print one JSON object instead of streaming");
  AddDecoderOptions(*verb, options->model);
  AddGenerateFlags(*verb, options->generate);
  verb->callback([options, &work] { work = [options] { return Run(*options); }; });
}

}  // namespace foveate::cli
