// The one exception type of the library. Everything that can fail because of the world outside (a
// file, an argument, the machine) throws Error with a code and one line of text that names what was
// wrong, where, and what was expected. Programming mistakes are assertions instead.
#pragma once

#include <stdexcept>
#include <string>

namespace foveate {

enum class ErrorCode {
  kInvalidArgument,  // an option, flag or parameter outside its range
  kUnsupported,      // valid, but not something this build or machine can do
  kNotFound,         // a file, model or tensor that does not exist
  kCorruptFile,      // a file that breaks the rules of its format
  kIo,               // the operating system or the network refused
  kLimit,            // more than a stated limit (context, memory, steps)
  kBadRequest,       // a chat request or template that cannot be rendered
  kNumerical,        // NaN where a number was needed
  kCancelled,        // stopped by the user
};

// The code's name in snake_case, as `--json` prints it: "corrupt_file".
const char* ErrorCodeName(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace foveate
