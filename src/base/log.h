// Warnings for the person at the terminal. The library never prints: it hands each line to the sink
// that the application sets (the command line writes to stderr; the default drops the line).
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <utility>

namespace foveate {

using LogSink = std::function<void(const std::string& line)>;

// Replaces the sink; safe to call from any thread. An empty function silences warnings.
void SetWarningSink(LogSink sink);
void WarnLine(const std::string& line);

template <typename... Args>
void Warn(fmt::format_string<Args...> format, Args&&... args) {
  WarnLine(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace foveate
