// Text that comes from files and standard input.
#pragma once

#include <string>

namespace foveate::cli {

// The content of `path`, or of standard input for "-". Throws Error(kNotFound or kIo) naming it.
std::string ReadTextFile(const std::string& path);

}  // namespace foveate::cli
