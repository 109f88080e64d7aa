// Runs another program, without a shell, and listens to it.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace foveate {

struct ChildCommand {
  std::vector<std::string> arguments;  // [0] is the program, looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment =
      {};                      // set on top of this process's
  std::string directory = {};  // to run in; empty: ours
};

struct ChildResult {
  int status = 0;      // exit status, or 128 + the signal that ended the program
  std::string errors;  // standard error, its last 64 KiB
};

// Runs `command` to its end, with nothing to read on standard input. `on_output` gets standard
// output as it comes; `on_tick` is called at least every 50 ms. When either throws, the program and
// its own children are stopped and the exception goes on. Throws Error(kNotFound) when there is no
// such program, kIo when the system cannot start it.
ChildResult RunChild(const ChildCommand& command,
                     const std::function<void(std::span<const std::byte>)>& on_output,
                     const std::function<void()>& on_tick);

}  // namespace foveate
