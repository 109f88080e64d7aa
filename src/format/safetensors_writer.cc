#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/checked.h"
#include "base/throw.h"
#include "format/printable.h"
#include "format/safetensors.h"
#include "format/safetensors_header.h"

namespace foveate {
namespace {

// A file that appears under its name only when it is complete.
class NewFile {
 public:
  explicit NewFile(const std::string& path)
      : path_(path), temporary_(fmt::format("{}.tmp-{}", path, getpid())) {
    // 0666 lets the umask decide, as for any other file.
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0) Fail("create");
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (descriptor_ >= 0) close(descriptor_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }

  void Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) Fail("write");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void Finish() {
    if (fsync(descriptor_) != 0) Fail("write");
    if (close(std::exchange(descriptor_, -1)) != 0) Fail("write");
    if (rename(temporary_.c_str(), path_.c_str()) != 0) Fail("rename");
    temporary_.clear();
  }

 private:
  [[noreturn]] void Fail(const char* what) const {
    Throw(ErrorCode::kIo, "{}: cannot {} '{}': {}", path_, what, temporary_, std::strerror(errno));
  }

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
};

std::string Quote(const std::string& text, const std::string& path) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::type_error&) {
    Throw(ErrorCode::kInvalidArgument, "{}: '{}' is not valid UTF-8", path, Printable(text));
  }
}

void CheckTensor(const StoredTensor& tensor, const std::string& path) {
  if (tensor.name == kSafetensorsMetadata) {
    Throw(ErrorCode::kInvalidArgument, "{}: a tensor cannot be called '{}'", path, tensor.name);
  }
  const std::string_view type = TensorTypeName(tensor.type);
  if (!SafetensorsType(type)) {
    Throw(ErrorCode::kUnsupported, "{}: tensor '{}': safetensors has no type {}", path,
          Printable(tensor.name), type);
  }
  const TensorTypeInfo& info = *FindTensorType(tensor.type);
  const std::int64_t bits = tensor.elements() * (info.block_bytes * 8 / info.block_values);
  if (static_cast<std::int64_t>(tensor.bytes.size()) * 8 != bits) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: tensor '{}': {} bytes given, shape and type need {} bits", path,
          Printable(tensor.name), tensor.bytes.size(), bits);
  }
}

// Widest elements first, so that every tensor is aligned to its own element; then by name.
std::vector<const StoredTensor*> InFileOrder(std::span<const StoredTensor> tensors,
                                             const std::string& path) {
  std::vector<const StoredTensor*> order;
  for (const StoredTensor& tensor : tensors) {
    CheckTensor(tensor, path);
    order.push_back(&tensor);
  }
  const auto key = [](const StoredTensor* tensor) {
    const TensorTypeInfo& type = *FindTensorType(tensor->type);
    return std::pair<std::int64_t, std::string_view>(-8 * type.block_bytes / type.block_values,
                                                     tensor->name);
  };
  std::ranges::sort(order, {}, key);
  return order;
}

std::string MakeHeader(std::span<const StoredTensor* const> tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::string& path) {
  std::string header = "{";
  const auto out = std::back_inserter(header);
  const auto separate = [&header] {
    if (header.size() > 1) header += ',';
  };
  if (!metadata.empty()) {
    std::string pairs;
    for (const auto& [key, value] : metadata) {
      fmt::format_to(std::back_inserter(pairs), "{}{}:{}", pairs.empty() ? "" : ",",
                     Quote(key, path), Quote(value, path));
    }
    fmt::format_to(out, "\"{}\":{{{}}}", kSafetensorsMetadata, pairs);
  }
  std::size_t begin = 0;
  for (const StoredTensor* tensor : tensors) {
    separate();
    const std::size_t end = begin + tensor->bytes.size();
    fmt::format_to(out, "{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                   Quote(tensor->name, path), TensorTypeName(tensor->type),
                   fmt::join(tensor->shape, ","), begin, end);
    begin = end;
  }
  header += '}';
  header.resize(RoundUp<std::size_t>(header.size(), 8), ' ');
  return header;
}

}  // namespace

void WriteSafetensors(const std::string& path, std::span<const StoredTensor> tensors,
                      const std::map<std::string, std::string>& metadata) {
  const std::vector<const StoredTensor*> order = InFileOrder(tensors, path);
  std::vector<std::string_view> names;
  for (const StoredTensor* tensor : order) names.push_back(tensor->name);
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    Throw(ErrorCode::kInvalidArgument, "{}: two tensors are called '{}'", path, Printable(*twice));
  }
  const std::string header = MakeHeader(order, metadata, path);
  const std::uint64_t length = header.size();
  NewFile file(path);
  file.Write(std::as_bytes(std::span(&length, 1)));
  file.Write(std::as_bytes(std::span(header)));
  for (const StoredTensor* tensor : order) file.Write(tensor->bytes);
  file.Finish();
}

}  // namespace foveate
