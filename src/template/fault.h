// Errors inside the template engine: they do not know the template's line yet. ChatTemplate turns
// them into foveate::Error with the line at which evaluation stopped.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "foveate/error.h"

namespace foveate::jinja {

class Fault : public std::runtime_error {
 public:
  Fault(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// The template does something that its values do not allow.
template <typename... Args>
[[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Fault(ErrorCode::kBadRequest, fmt::format(format, std::forward<Args>(args)...));
}

// The template exceeds a limit.
template <typename... Args>
[[noreturn]] void FailLimit(fmt::format_string<Args...> format, Args&&... args) {
  throw Fault(ErrorCode::kLimit, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace foveate::jinja
