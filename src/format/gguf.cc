#include "format/gguf.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "base/throw.h"
#include "format/gguf_parser.h"
#include "format/gguf_split.h"
#include "format/gguf_value.h"
#include "format/printable.h"
#include "format/tensor_check.h"

namespace foveate {

struct GgufFile::Impl {
  std::string path;
  std::vector<MappedFile> files;  // none for an image in memory, otherwise all shards
  std::uint64_t file_bytes = 0;
  GgufImage image;  // the metadata of the first shard, the tensors of all
  std::unordered_map<std::string_view, std::size_t> tensor_index;

  // Call when `image.tensors` is complete: the index points into it.
  void IndexTensors() {
    for (std::size_t i = 0; i < image.tensors.size(); ++i) {
      if (!tensor_index.emplace(image.tensors[i].name, i).second) {
        Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' occurs in two shards", path,
              Printable(image.tensors[i].name));
      }
    }
  }
};

GgufFile GgufFile::Parse(std::span<const std::byte> bytes, const std::string& name) {
  auto impl = std::make_shared<Impl>();
  impl->path = name;
  impl->file_bytes = bytes.size();
  impl->image = ParseGgufImage(bytes, name);
  impl->IndexTensors();
  GgufFile file;
  file.impl_ = std::move(impl);
  return file;
}

GgufFile GgufFile::Open(const std::string& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->files.push_back(MappedFile::Open(path));
  impl->image = ParseGgufImage(impl->files[0].bytes(), path);
  std::ranges::move(OpenOtherShards(path, &impl->image), std::back_inserter(impl->files));
  impl->IndexTensors();
  for (const MappedFile& file : impl->files) impl->file_bytes += file.bytes().size();
  GgufFile file;
  file.impl_ = std::move(impl);
  return file;
}

const std::string& GgufFile::path() const { return impl_->path; }
std::uint32_t GgufFile::version() const { return impl_->image.version; }
std::uint64_t GgufFile::file_bytes() const { return impl_->file_bytes; }
const std::vector<GgufPair>& GgufFile::metadata() const { return impl_->image.metadata; }
const std::vector<StoredTensor>& GgufFile::tensors() const { return impl_->image.tensors; }

const GgufValue* GgufFile::Find(std::string_view key) const { return impl_->image.Find(key); }

const StoredTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = impl_->tensor_index.find(name);
  return found == impl_->tensor_index.end() ? nullptr : &impl_->image.tensors[found->second];
}

template <typename T>
std::optional<T> GgufFile::Get(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type == GgufType::kArray || !Kind<T>::Holds(value->type)) {
    Throw(ErrorCode::kCorruptFile, "{}: metadata '{}': is {}, expected {}", path(), Printable(key),
          Describe(*value), Kind<T>::kName);
  }
  if constexpr (std::same_as<T, std::string_view>) {
    return std::string_view(reinterpret_cast<const char*>(value->bytes.data()),
                            value->bytes.size());
  } else {
    return NumberOrThrow<T>(path(), key, *value, 0);
  }
}

template <typename T>
std::optional<std::vector<T>> GgufFile::GetArray(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  // Writers give empty arrays any element type.
  const bool fits = value->count == 0 || Kind<T>::Holds(value->element_type);
  if (value->type != GgufType::kArray || !fits) {
    Throw(ErrorCode::kCorruptFile, "{}: metadata '{}': is {}, expected an array, each element {}",
          path(), Printable(key), Describe(*value), Kind<T>::kName);
  }
  std::vector<T> elements;
  elements.reserve(value->count);
  std::size_t offset = 0;
  for (std::uint64_t i = 0; i < value->count; ++i) {
    if constexpr (std::same_as<T, std::string_view>) {
      elements.push_back(NextGgufString(value->bytes, &offset));
    } else {
      elements.push_back(NumberOrThrow<T>(path(), key, *value, i));
    }
  }
  return elements;
}

template std::optional<bool> GgufFile::Get(std::string_view) const;
template std::optional<std::uint32_t> GgufFile::Get(std::string_view) const;
template std::optional<std::int64_t> GgufFile::Get(std::string_view) const;
template std::optional<std::uint64_t> GgufFile::Get(std::string_view) const;
template std::optional<float> GgufFile::Get(std::string_view) const;
template std::optional<double> GgufFile::Get(std::string_view) const;
template std::optional<std::string_view> GgufFile::Get(std::string_view) const;
template std::optional<std::vector<bool>> GgufFile::GetArray(std::string_view) const;
template std::optional<std::vector<std::uint32_t>> GgufFile::GetArray(std::string_view) const;
template std::optional<std::vector<std::int64_t>> GgufFile::GetArray(std::string_view) const;
template std::optional<std::vector<std::uint64_t>> GgufFile::GetArray(std::string_view) const;
template std::optional<std::vector<float>> GgufFile::GetArray(std::string_view) const;
template std::optional<std::vector<double>> GgufFile::GetArray(std::string_view) const;
template std::optional<std::vector<std::string_view>> GgufFile::GetArray(std::string_view) const;

std::vector<std::string> GgufFile::CheckTensors() const {
  std::vector<std::string> findings;
  for (const StoredTensor& tensor : tensors()) {
    if (auto finding = FindNonFinite(tensor)) findings.push_back(std::move(*finding));
  }
  return findings;
}

void GgufFile::Release(const StoredTensor& tensor) const {
  for (const MappedFile& file : impl_->files) {
    const auto bytes = file.bytes();
    // std::less_equal: the order of pointers into different files is only defined there.
    const std::less_equal<const std::byte*> ordered;
    if (ordered(bytes.data(), tensor.bytes.data()) &&
        ordered(tensor.bytes.data() + tensor.bytes.size(), bytes.data() + bytes.size())) {
      return file.Release(tensor.bytes);
    }
  }
}

}  // namespace foveate
