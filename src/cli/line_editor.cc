#include "cli/line_editor.h"

#include <histedit.h>
#include <stdio.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/interrupt.h"

namespace foveate::cli {
namespace {

constexpr int kHistoryLines = 1000;

}  // namespace

struct LineEditor::Impl {
  EditLine* line = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string history_file;
  std::string prompt;

  static char* Prompt(EditLine* line) {
    void* data = nullptr;
    el_get(line, EL_CLIENTDATA, &data);
    return static_cast<Impl*>(data)->prompt.data();
  }
};

LineEditor::LineEditor(std::string history_file) : impl_(new Impl) {
  impl_->history_file = std::move(history_file);
  impl_->history = history_init();
  history(impl_->history, &impl_->event, H_SETSIZE, kHistoryLines);
  history(impl_->history, &impl_->event, H_SETUNIQUE, 1);
  if (!impl_->history_file.empty()) {
    history(impl_->history, &impl_->event, H_LOAD, impl_->history_file.c_str());
  }
  impl_->line = el_init("foveate", stdin, stdout, stderr);
  el_set(impl_->line, EL_CLIENTDATA, impl_);
  el_set(impl_->line, EL_PROMPT, &Impl::Prompt);
  el_set(impl_->line, EL_EDITOR, "emacs");
  el_set(impl_->line, EL_HIST, history, impl_->history);
  el_source(impl_->line, nullptr);  // the user's ~/.editrc
}

LineEditor::~LineEditor() {
  el_end(impl_->line);
  history_end(impl_->history);
  delete impl_;
}

std::optional<std::string> LineEditor::ReadLine(const std::string& prompt) {
  impl_->prompt = prompt;
  int count = 0;
  const char* text = el_gets(impl_->line, &count);
  if (text == nullptr || count <= 0) {
    if (!Interrupted().exchange(false)) return std::nullopt;
    el_reset(impl_->line);  // Ctrl-C at the prompt drops the line
    ::putchar('\n');
    return std::string();
  }
  std::string line(text, static_cast<std::size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return line;
}

void LineEditor::Remember(const std::string& message) {
  if (message.empty()) return;
  history(impl_->history, &impl_->event, H_ENTER, message.c_str());
  if (impl_->history_file.empty()) return;
  std::error_code ignored;  // a history that cannot be kept is no reason to stop
  std::filesystem::create_directories(std::filesystem::path(impl_->history_file).parent_path(),
                                      ignored);
  history(impl_->history, &impl_->event, H_SAVE, impl_->history_file.c_str());
}

std::string LineEditor::HistoryFile() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/foveate/history";
  const char* home = std::getenv("HOME");
  return home == nullptr ? "" : std::string(home) + "/.local/state/foveate/history";
}

}  // namespace foveate::cli
