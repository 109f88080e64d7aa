// A safetensors file with one tensor `logits` [n, V] (f32), written row by row: the whole is larger
// than memory for long texts.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "base/tensor.h"

namespace foveate::cli {

class LogitsFile {
 public:
  // Writes to a temporary file beside `path`; throws Error(kIo) naming it.
  LogitsFile(std::string path, std::int64_t rows, std::int64_t vocabulary);
  ~LogitsFile();  // removes the temporary file unless it was committed
  LogitsFile(const LogitsFile&) = delete;
  LogitsFile& operator=(const LogitsFile&) = delete;

  void Append(View<const float, 2> rows);
  // All rows are written: puts the file in its place.
  void Commit();

 private:
  void Write(const void* data, std::size_t bytes);
  [[noreturn]] void Fail() const;

  std::string path_;
  std::string temporary_;
  std::FILE* file_ = nullptr;
};

}  // namespace foveate::cli
