// Throw(code, "format {}", args...): formats the message of an Error and throws it.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "foveate/error.h"

namespace foveate {

template <typename... Args>
[[noreturn]] void Throw(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace foveate
