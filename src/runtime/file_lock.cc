#include "runtime/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/throw.h"

namespace foveate {
namespace {

// The last holder removes the lock file, so a lock won late may be on a file without a name.
bool StillNamed(const FileDescriptor& file, const std::string& path) {
  struct stat held;
  struct stat named;
  return fstat(file.get(), &held) == 0 && stat(path.c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

}  // namespace

std::optional<FileLock> FileLock::Try(const std::string& target) {
  const std::string path = target + ".lock";
  const std::filesystem::path folder = std::filesystem::path(target).parent_path();
  while (true) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
      Throw(ErrorCode::kIo, "cannot make the folder {}: {}", folder.string(), error.message());
    }
    FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!file.valid()) Throw(ErrorCode::kIo, "cannot open {}: {}", path, std::strerror(errno));
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      Throw(ErrorCode::kIo, "cannot lock {}: {}", path, std::strerror(errno));
    }
    if (StillNamed(file, path)) return FileLock(path, std::move(file));
  }
}

FileLock FileLock::Wait(const std::string& target, PullMonitor& monitor) {
  while (true) {
    if (std::optional<FileLock> lock = Try(target)) return std::move(*lock);
    monitor.Report({0, -1, "waiting for another pull"});
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

FileLock::~FileLock() {
  if (file_.valid()) std::remove(path_.c_str());
}

}  // namespace foveate
