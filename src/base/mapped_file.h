// A file mapped read-only into memory. Pages are read on first touch and can be given back.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace foveate {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error: kNotFound (no such file), kIo (a folder, unreadable), naming the path. An empty
  // file maps to zero bytes.
  static MappedFile Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Tells the system that `part` of bytes() will not be read again soon: its whole pages stop
  // counting as resident memory (reading them later fetches them again).
  void Release(std::span<const std::byte> part) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace foveate
