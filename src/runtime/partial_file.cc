#include "runtime/partial_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;

// Reads `file` from its beginning to its end; returns the bytes read, or -1 (errno tells why).
std::int64_t HashAll(int file, Sha256& hash, PullMonitor& monitor) {
  std::vector<std::byte> buffer(kReadBytes);
  std::int64_t done = 0;
  while (true) {
    const ssize_t count = pread(file, buffer.data(), buffer.size(), done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) return done;
    hash.Update({buffer.data(), static_cast<std::size_t>(count)});
    done += count;
    monitor.Report({done, -1, "verifying"});
  }
}

// A rename lasts through a power cut only once the folder is on the disk too.
void SyncFolder(const std::filesystem::path& folder) {
  const FileDescriptor file(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.valid()) fsync(file.get());
}

}  // namespace

std::string PartName(const std::string& target) { return target + ".part"; }

PartialFile::PartialFile(const std::string& target, PullMonitor& monitor)
    : target_(target), path_(PartName(target)) {
  file_ = FileDescriptor(open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file_.valid()) Fail("open", errno);
  HashExisting(monitor);
}

PartialFile::~PartialFile() {
  if (size_ == 0) Discard();
}

void PartialFile::HashExisting(PullMonitor& monitor) {
  // Only a regular file can hold an earlier attempt.
  if (!std::filesystem::is_regular_file(path_)) return;
  size_ = HashAll(file_.get(), hash_, monitor);
  if (size_ < 0) Fail("read", errno);
}

void PartialFile::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) Fail("write", errno);
    hash_.Update(bytes.first(static_cast<std::size_t>(count)));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    size_ += count;
  }
}

void PartialFile::Restart() {
  if (ftruncate(file_.get(), 0) != 0) Fail("empty", errno);
  hash_ = Sha256();
  size_ = 0;
}

void PartialFile::Commit(std::int64_t expected_bytes, const std::string& expected_sha256,
                         const std::string& source) {
  if (expected_bytes >= 0 && size_ != expected_bytes) {
    const std::int64_t came = size_;
    Discard();
    Throw(ErrorCode::kCorruptFile, "{} has the wrong length: {} bytes came, {} were expected",
          source, came, expected_bytes);
  }
  const std::string sha256 = hash_.HexDigest();
  if (!expected_sha256.empty() && sha256 != expected_sha256) {
    Discard();
    Throw(ErrorCode::kCorruptFile, "{} has the wrong sha256: {} came, {} was expected", source,
          sha256, expected_sha256);
  }
  if (fsync(file_.get()) != 0) Fail("write", errno);
  if (std::rename(path_.c_str(), target_.c_str()) != 0) Fail("rename", errno);
  SyncFolder(std::filesystem::path(target_).parent_path());
}

void PartialFile::Discard() {
  std::remove(path_.c_str());
  size_ = 0;
}

void PartialFile::Fail(const char* action, int error) const {
  if (error == ENOSPC || error == EDQUOT) {
    Throw(ErrorCode::kIo, "no space left on the disk for {} after {} bytes", path_, size_);
  }
  Throw(ErrorCode::kIo, "cannot {} {}: {}", action, path_, std::strerror(error));
}

void RequireSpace(const std::string& target, std::int64_t bytes) {
  std::error_code error;
  const auto space = std::filesystem::space(std::filesystem::path(target).parent_path(), error);
  if (!error && bytes > 0 && space.available < static_cast<std::uintmax_t>(bytes)) {
    Throw(ErrorCode::kIo, "no space left on the disk for {}: {} bytes needed, {} free", target,
          bytes, space.available);
  }
}

std::string Sha256OfFile(const std::string& path, PullMonitor& monitor) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) Throw(ErrorCode::kIo, "cannot open {}: {}", path, std::strerror(errno));
  Sha256 hash;
  if (HashAll(file.get(), hash, monitor) < 0) {
    Throw(ErrorCode::kIo, "cannot read {}: {}", path, std::strerror(errno));
  }
  return hash.HexDigest();
}

}  // namespace foveate
