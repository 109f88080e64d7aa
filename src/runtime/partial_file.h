// A file that is being fetched: bytes are appended to "<target>.part" and hashed on the way, and
// only a complete, verified file gets the name of the target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/file_descriptor.h"
#include "runtime/pull_monitor.h"
#include "runtime/sha256.h"

namespace foveate {

// The name under which a file lies until it is complete.
std::string PartName(const std::string& target);

class PartialFile {
 public:
  // Opens what an earlier attempt left (its bytes are read once, for the hash) or starts empty.
  // Throws Error(kIo) naming the path.
  PartialFile(const std::string& target, PullMonitor& monitor);
  ~PartialFile();  // leaves what has come, but no empty file
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  std::int64_t size() const { return size_; }

  // Throws Error(kIo) naming path, place and reason, a full disk for instance; what was written
  // before stays.
  void Append(std::span<const std::byte> bytes);

  // Back to no bytes.
  void Restart();

  // Away with the file and its bytes.
  void Discard();

  // Checks size (unless negative) and hash (unless empty), brings the bytes to the disk and moves
  // the file to its target. A file that differs is removed: Error(kCorruptFile) naming `source`,
  // what came and what was expected.
  void Commit(std::int64_t expected_bytes, const std::string& expected_sha256,
              const std::string& source);

 private:
  void HashExisting(PullMonitor& monitor);
  [[noreturn]] void Fail(const char* action, int error) const;

  std::string target_;
  std::string path_;
  FileDescriptor file_;
  std::int64_t size_ = 0;
  Sha256 hash_;
};

// Throws Error(kIo) naming the target when the disk under its folder has less than `bytes` free.
void RequireSpace(const std::string& target, std::int64_t bytes);

// SHA-256 of a whole file. Throws Error(kIo) naming the path.
std::string Sha256OfFile(const std::string& path, PullMonitor& monitor);

}  // namespace foveate
