// The interactive chat of `foveate run`.
#pragma once

#include <string>

#include "runtime/generate.h"

namespace foveate::cli {

struct ReplOptions {
  GenerateOptions generate;
  std::string system;
  bool raw = false;            // complete text instead of chatting
  bool parse_special = false;  // with raw
};

// Reads lines (history, editing) and answers them until the end of input; returns the exit code.
int RunRepl(Session& session, const ReplOptions& options);

}  // namespace foveate::cli
