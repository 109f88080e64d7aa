// Lines from a terminal with editing and a history that survives the program (libedit).
#pragma once

#include <optional>
#include <string>

namespace foveate::cli {

class LineEditor {
 public:
  // `history_file` may be empty: nothing is kept.
  explicit LineEditor(std::string history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next line without its newline; nothing at the end of input. Ctrl-C gives an empty line.
  std::optional<std::string> ReadLine(const std::string& prompt);
  void Remember(const std::string& message);

  // $XDG_STATE_HOME/foveate/history or ~/.local/state/foveate/history; empty without a home.
  static std::string HistoryFile();

 private:
  struct Impl;
  Impl* impl_;
};

}  // namespace foveate::cli
