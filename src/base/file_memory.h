// Memory that the system may keep on disk: for what is larger than memory and read in an order that
// is known beforehand.
//
//   FileMemory memory("/var/tmp", bytes);
//   memory.WillNeed(used);   // begin to read it back, while something else is computed
//   ... use memory.data() ...
//   memory.NotSoon(used);    // others may stay in memory instead
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace foveate {

class FileMemory {
 public:
  FileMemory() = default;
  // Zeroed bytes of a file in `folder` that has no name: it is gone when the program ends, however
  // it ends. Its place on the disk is taken at once. Throws Error(kIo) naming the folder, for a
  // full disk as well.
  FileMemory(const std::string& folder, std::int64_t bytes);

  FileMemory(FileMemory&& other) noexcept;
  FileMemory& operator=(FileMemory&& other) noexcept;
  ~FileMemory();

  std::byte* data() const { return data_; }
  std::int64_t size() const { return size_; }

  // Hints about the first `bytes`; neither waits for the disk. Without memory they do nothing.
  void WillNeed(std::int64_t bytes) const;
  void NotSoon(std::int64_t bytes) const;

 private:
  std::byte* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace foveate
