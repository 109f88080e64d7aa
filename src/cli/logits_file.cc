#include "cli/logits_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/throw.h"

namespace foveate::cli {

LogitsFile::LogitsFile(std::string path, std::int64_t rows, std::int64_t vocabulary)
    : path_(std::move(path)), temporary_(path_ + ".tmp" + std::to_string(getpid())) {
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (file_ == nullptr) Fail();
  const std::int64_t bytes = rows * vocabulary * static_cast<std::int64_t>(sizeof(float));
  const nlohmann::ordered_json header = {
      {"logits", {{"dtype", "F32"}, {"shape", {rows, vocabulary}}, {"data_offsets", {0, bytes}}}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  Write(&size, sizeof(size));
  Write(text.data(), text.size());
}

LogitsFile::~LogitsFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  std::remove(temporary_.c_str());
}

void LogitsFile::Append(View<const float, 2> rows) {
  for (std::int64_t row = 0; row < rows.shape[0]; ++row) {
    Write(&rows(row, 0), static_cast<std::size_t>(rows.shape[1]) * sizeof(float));
  }
}

void LogitsFile::Commit() {
  if (std::fflush(file_) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) Fail();
  std::fclose(std::exchange(file_, nullptr));
}

void LogitsFile::Write(const void* data, std::size_t bytes) {
  if (std::fwrite(data, 1, bytes, file_) != bytes) Fail();
}

void LogitsFile::Fail() const {
  Throw(ErrorCode::kIo, "{}: cannot write: {}", path_, std::strerror(errno));
}

}  // namespace foveate::cli
