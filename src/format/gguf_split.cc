#include "format/gguf_split.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/throw.h"
#include "format/gguf_value.h"

namespace foveate {
namespace {

// A number of the split.* keys; 0 when absent.
std::int64_t SplitNumber(const GgufImage& image, const std::string& path, std::string_view key) {
  const GgufValue* value = image.Find(key);
  if (value == nullptr) return 0;
  if (!IsInteger(value->type)) {
    Throw(ErrorCode::kCorruptFile, "{}: metadata '{}': is {}, expected an integer", path, key,
          Describe(*value));
  }
  return NumberOrThrow<std::uint32_t>(path, key, *value, 0);
}

// "-00002-of-00003.gguf", the end of the name of shard `number` (from 1) of `count`.
std::string ShardSuffix(std::int64_t number, std::int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number, count);
}

// The path up to the shard suffix. `image`, at `path`, must be the first shard of `count`.
std::string ShardStem(const GgufImage& image, const std::string& path, std::int64_t count) {
  const std::int64_t number = SplitNumber(image, path, "split.no") + 1;
  const std::string suffix = ShardSuffix(number, count);
  const std::string stem =
      path.ends_with(suffix) ? path.substr(0, path.size() - suffix.size()) : "";
  if (number != 1) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: is shard {} of {} of a split model; open the first one{}{}", path, number, count,
          stem.empty() ? "" : ", ", stem.empty() ? "" : stem + ShardSuffix(1, count));
  }
  constexpr std::array kMagic = {std::byte{'G'}, std::byte{'G'}, std::byte{'U'}, std::byte{'F'}};
  if (image.rest.size() >= kMagic.size() &&
      std::ranges::equal(image.rest.first(kMagic.size()), kMagic)) {
    Throw(ErrorCode::kCorruptFile,
          "{}: several shards of a split model joined to one file; keep the {} shards as separate "
          "files named <stem>{}",
          path, count, ShardSuffix(1, count));
  }
  if (stem.empty()) {
    Throw(ErrorCode::kCorruptFile,
          "{}: first shard of a split model, whose file name must end in '{}' for the others to be "
          "found",
          path, suffix);
  }
  return stem;
}

// Opens shard `number` (from 1) and moves its tensors to the end of `tensors`.
MappedFile OpenShard(const std::string& path, std::int64_t number, std::int64_t count,
                     std::vector<StoredTensor>* tensors) {
  MappedFile file;
  try {
    file = MappedFile::Open(path);
  } catch (const Error& error) {
    Throw(error.code(), "{} (shard {} of {} of a split model)", error.what(), number, count);
  }
  GgufImage image = ParseGgufImage(file.bytes(), path);
  const std::int64_t found_number = SplitNumber(image, path, "split.no") + 1;
  const std::int64_t found_count = SplitNumber(image, path, "split.count");
  if (found_number != number || found_count != count) {
    Throw(ErrorCode::kCorruptFile, "{}: holds shard {} of {}, expected shard {} of {}", path,
          found_number, found_count, number, count);
  }
  std::ranges::move(image.tensors, std::back_inserter(*tensors));
  return file;
}

}  // namespace

std::vector<MappedFile> OpenOtherShards(const std::string& path, GgufImage* first) {
  std::vector<MappedFile> files;
  const std::int64_t count = SplitNumber(*first, path, "split.count");
  if (count <= 1) return files;
  const std::string stem = ShardStem(*first, path, count);
  for (std::int64_t number = 2; number <= count; ++number) {
    files.push_back(OpenShard(stem + ShardSuffix(number, count), number, count, &first->tensors));
  }
  const std::int64_t expected = SplitNumber(*first, path, "split.tensors.count");
  if (static_cast<std::int64_t>(first->tensors.size()) != expected) {
    Throw(ErrorCode::kCorruptFile, "{}: the {} shards hold {} tensors, split.tensors.count is {}",
          path, count, first->tensors.size(), expected);
  }
  return files;
}

}  // namespace foveate
