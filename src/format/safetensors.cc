#include "format/safetensors.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/throw.h"
#include "format/printable.h"
#include "format/safetensors_header.h"
#include "format/safetensors_index.h"

namespace foveate {

struct SafetensorsFile::Impl {
  std::string path;
  std::vector<MappedFile> files;  // none for an image in memory
  SafetensorsImage image;
};

namespace {

using WeightMap = std::map<std::string, std::string>;

// Appends the tensors of one shard, which must be those that the index places there.
void AddShard(const std::string& index_path, const std::string& shard_name,
              const WeightMap& weight_map, const MappedFile& file, SafetensorsImage* all) {
  SafetensorsImage image = ParseSafetensorsImage(file.bytes(), file.path());
  for (const StoredTensor& tensor : image.tensors) {
    const auto entry = weight_map.find(tensor.name);
    if (entry == weight_map.end() || entry->second != shard_name) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' lies in '{}', but the index places it {}{}",
            index_path, Printable(tensor.name), Printable(shard_name),
            entry == weight_map.end() ? "nowhere" : "in ",
            entry == weight_map.end() ? "" : Printable(entry->second));
    }
  }
  std::ranges::move(image.tensors, std::back_inserter(all->tensors));
  all->metadata.merge(image.metadata);
}

// The index counts its names and each shard's names agree with it: equal numbers mean equal sets.
void CheckComplete(const std::string& index_path, const WeightMap& weight_map,
                   const std::vector<StoredTensor>& tensors) {
  if (tensors.size() == weight_map.size()) return;
  for (const auto& [name, shard] : weight_map) {
    if (!std::ranges::binary_search(tensors, name, {}, &StoredTensor::name)) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' is not in '{}', where the index places it",
            index_path, Printable(name), Printable(shard));
    }
  }
}

}  // namespace

SafetensorsFile SafetensorsFile::Open(const std::string& path) {
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  MappedFile file = MappedFile::Open(path);
  if (path.ends_with(".index.json")) {
    const WeightMap weight_map = ParseSafetensorsIndex(file.bytes(), path);
    std::set<std::string> shards;
    for (const auto& [name, shard] : weight_map) shards.insert(shard);
    for (const std::string& shard : shards) {
      impl->files.push_back(MappedFile::Open(ResolveShard(path, shard)));
      AddShard(path, shard, weight_map, impl->files.back(), &impl->image);
    }
    std::ranges::sort(impl->image.tensors, {}, &StoredTensor::name);
    CheckComplete(path, weight_map, impl->image.tensors);
  } else {
    impl->image = ParseSafetensorsImage(file.bytes(), path);
    impl->files.push_back(std::move(file));
  }
  SafetensorsFile result;
  result.impl_ = std::move(impl);
  return result;
}

SafetensorsFile SafetensorsFile::Parse(std::span<const std::byte> bytes, const std::string& name) {
  auto impl = std::make_shared<Impl>();
  impl->path = name;
  impl->image = ParseSafetensorsImage(bytes, name);
  SafetensorsFile result;
  result.impl_ = std::move(impl);
  return result;
}

const std::string& SafetensorsFile::path() const { return impl_->path; }
const std::vector<StoredTensor>& SafetensorsFile::tensors() const { return impl_->image.tensors; }

const StoredTensor* SafetensorsFile::FindTensor(std::string_view name) const {
  const auto found = std::ranges::lower_bound(tensors(), name, {}, &StoredTensor::name);
  return found != tensors().end() && found->name == name ? &*found : nullptr;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return impl_->image.metadata;
}

}  // namespace foveate
