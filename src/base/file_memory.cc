#include "base/file_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/throw.h"

namespace foveate {

FileMemory::FileMemory(const std::string& folder, std::int64_t bytes) {
  const auto fail = [&](int error) {
    Throw(ErrorCode::kIo, "{}: cannot keep {} bytes there: {}", folder, bytes,
          std::strerror(error));
  };
  std::string path = folder + "/foveate-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0) fail(errno);
  unlink(path.c_str());
  const int full = posix_fallocate(file, 0, bytes);
  void* data =
      full != 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int error = full != 0 ? full : errno;
  close(file);  // the mapping keeps it
  if (data == MAP_FAILED) fail(error);
  data_ = static_cast<std::byte*>(data);
  size_ = bytes;
}

FileMemory::FileMemory(FileMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

FileMemory& FileMemory::operator=(FileMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

FileMemory::~FileMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

void FileMemory::WillNeed(std::int64_t bytes) const {
  if (data_ != nullptr) madvise(data_, bytes, MADV_WILLNEED);
}

void FileMemory::NotSoon(std::int64_t bytes) const {
  if (data_ != nullptr) madvise(data_, bytes, MADV_COLD);
}

}  // namespace foveate
