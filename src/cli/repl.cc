#include "cli/repl.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "base/throw.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/run_report.h"
#include "cli/verbs.h"
#include "runtime/chat.h"

namespace foveate::cli {
namespace {

constexpr const char* kHelp = R"(  /help             this text
  /system [TEXT]    set the system message (none: the template's default) and start over
  /clear            forget the conversation
  /stats            show or hide the line of timings after each answer
  /exit             leave (so does Ctrl-D)
A line that ends in \ goes on in the next; """ opens and closes a block of lines.
Ctrl-C stops an answer.
)";

class Repl {
 public:
  Repl(Session& session, const ReplOptions& options)
      : session_(session), options_(options), editor_(LineEditor::HistoryFile()) {
    if (options.raw) return;
    chat_.emplace(session);
    chat_->SetSystem(options.system);
  }

  int Run() {
    fmt::print(stderr, "{} {}\n", Title(), "(/help for commands, Ctrl-D to leave)");
    while (const std::optional<std::string> input = ReadMessage()) {
      if (input->empty()) continue;
      if (input->front() == '/') {
        if (!Command(*input)) break;
      } else {
        Answer(*input);
      }
    }
    return kExitOk;
  }

 private:
  std::string Title() const {
    const std::string& name = session_.model().config.name;
    return name.empty() ? session_.model().file.path() : name;
  }

  // One message, which may span lines; nothing at the end of input.
  std::optional<std::string> ReadMessage() {
    std::optional<std::string> line = editor_.ReadLine(">>> ");
    if (!line) return std::nullopt;
    const std::string fence = "\"\"\"";
    const bool block = line->compare(0, fence.size(), fence) == 0;
    std::string message = block ? line->substr(fence.size()) : *line;
    const auto ends = [&] {
      const std::string& end = block ? fence : "\\";
      const bool has = message.size() >= end.size() &&
                       message.compare(message.size() - end.size(), end.size(), end) == 0;
      if (has) message.resize(message.size() - end.size());
      return has;
    };
    while (block !=
           ends()) {  // a block goes on until its fence, a line while it ends in a backslash
      line = editor_.ReadLine("... ");
      if (!line) break;
      message += (message.empty() && block ? "" : "\n") + *line;
    }
    editor_.Remember(message);
    return message;
  }

  // False: leave.
  bool Command(const std::string& input) {
    const std::string name = input.substr(0, input.find(' '));
    const std::string argument = name.size() == input.size() ? "" : input.substr(name.size() + 1);
    if (name == "/exit" || name == "/quit" || name == "/bye") return false;
    if (name == "/help" || name == "/?") {
      fmt::print("{}", kHelp);
    } else if (name == "/clear" && chat_) {
      chat_->Clear();
    } else if (name == "/system" && chat_) {
      chat_->SetSystem(argument);
    } else if (name == "/stats") {
      show_stats_ = !show_stats_;
    } else {
      fmt::print(stderr, "unknown command {} (/help lists them)\n", name);
    }
    return true;
  }

  void Answer(const std::string& message) {
    Interrupted() = false;
    ProgressBar bar("reading");
    const GenerateHooks hooks = {.on_text =
                                     [&](std::string_view text) {
                                       bar.Clear();
                                       std::fwrite(text.data(), 1, text.size(), stdout);
                                       return std::fflush(stdout) == 0;
                                     },
                                 .on_prefill = PrefillProgress(bar),
                                 .cancel = &Interrupted()};
    try {
      const GenerateResult result =
          chat_ ? chat_->Send(message, options_.generate, hooks) : Complete(message, hooks);
      bar.Clear();
      fmt::print("\n");
      std::fflush(stdout);
      if (show_stats_) fmt::print(stderr, "{}\n", RunReportLine(result, session_));
    } catch (const Error& error) {  // a full context or a bad request ends this turn only
      bar.Clear();
      fmt::print(stderr, "{}\n", error.what());
    }
    Interrupted() = false;
  }

  GenerateResult Complete(const std::string& text, const GenerateHooks& hooks) {
    const auto ids =
        session_.model().tokenizer->Encode(text, {.parse_special = options_.parse_special});
    GenerateOptions generate = options_.generate;
    generate.continues_text = true;
    return Generate(session_, ids, generate, hooks);
  }

  Session& session_;
  const ReplOptions& options_;
  LineEditor editor_;
  std::optional<ChatSession> chat_;
  bool show_stats_ = true;
};

}  // namespace

int RunRepl(Session& session, const ReplOptions& options) { return Repl(session, options).Run(); }

}  // namespace foveate::cli
