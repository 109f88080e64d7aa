#include "cli/input.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/mapped_file.h"
#include "base/throw.h"
#include "cli/interrupt.h"

namespace foveate::cli {
namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // what a tokenizer accepts

std::string ReadStandardInput() {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t count = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (count == 0) return text;
    if (count < 0) {
      ThrowIfInterrupted();
      if (errno == EINTR) continue;
      Throw(ErrorCode::kIo, "cannot read standard input: {}", std::strerror(errno));
    }
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > kMostBytes) {
      Throw(ErrorCode::kLimit, "standard input holds more than {} bytes", kMostBytes);
    }
  }
}

}  // namespace

std::string ReadTextFile(const std::string& path) {
  if (path == "-") return ReadStandardInput();
  const MappedFile file = MappedFile::Open(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace foveate::cli
