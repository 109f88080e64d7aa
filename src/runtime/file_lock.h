// One process at a time fetches a file: an advisory lock on "<target>.lock".
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "runtime/file_descriptor.h"
#include "runtime/pull_monitor.h"

namespace foveate {

class FileLock {
 public:
  // Makes the target's folder and takes the lock; nothing while another holder has it. Throws
  // Error(kIo) naming the path.
  static std::optional<FileLock> Try(const std::string& target);

  // Waits for whoever holds the lock, reporting the phase "waiting for another pull".
  static FileLock Wait(const std::string& target, PullMonitor& monitor);

  FileLock(FileLock&&) = default;
  ~FileLock();

 private:
  FileLock(std::string path, FileDescriptor file)
      : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  FileDescriptor file_;
};

}  // namespace foveate
