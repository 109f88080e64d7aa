// GGUF (versions 2 and 3): header, typed metadata and a directory of tensors, mapped read-only.
//
//   GgufFile file = GgufFile::Open("model.gguf");
//   auto layers = file.Get<std::uint32_t>("llama.block_count");   // std::optional
//   const StoredTensor* embedding = file.FindTensor("token_embd.weight");
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "format/stored_tensor.h"

namespace foveate {

enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

// One metadata value, a view into the mapped file (unaligned). Arrays are homogeneous and not
// nested.
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element_type = GgufType::kU8;  // of an array; otherwise equal to `type`
  std::uint64_t count = 1;                // elements of an array
  // The packed elements. A string is its characters; in an array each keeps its u64 length in
  // front.
  std::span<const std::byte> bytes;
};

struct GgufPair {
  std::string_view key;
  GgufValue value;
};

class GgufFile {
 public:
  // Opens and validates a file; a first shard "<stem>-00001-of-0000N.gguf" opens all of its shards.
  // Throws Error: kCorruptFile naming file, field, offset and reason; kUnsupported for versions and
  // tensor types outside the list; kNotFound for a missing file or shard; kInvalidArgument for a
  // shard other than the first, with the name to open instead; kIo for what cannot be read.
  static GgufFile Open(const std::string& path);

  // Parses one image in memory (for tests and fuzzing), of a split model only that shard; `bytes`
  // must outlive the object.
  static GgufFile Parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const;
  std::uint32_t version() const;
  std::uint64_t file_bytes() const;               // all shards together
  const std::vector<GgufPair>& metadata() const;  // of a split model: the first shard's
  const std::vector<StoredTensor>& tensors() const;

  const GgufValue* Find(std::string_view key) const;            // null when absent
  const StoredTensor* FindTensor(std::string_view name) const;  // null when absent

  // The value of `key`, or nothing when the key is absent. Integers convert between widths when the
  // value fits; a value of another kind throws Error(kCorruptFile) naming the key.
  // T: bool, std::uint32_t, std::int64_t, std::uint64_t, double, float, std::string_view.
  template <typename T>
  std::optional<T> Get(std::string_view key) const;

  // The elements of an array, converted likewise; absent when the key is.
  template <typename T>
  std::optional<std::vector<T>> GetArray(std::string_view key) const;

  // Reads every tensor byte that can be checked: scales that are NaN or infinite, non-finite
  // floats. One line per tensor that has any, naming it, the number of rows and the first one.
  std::vector<std::string> CheckTensors() const;

  // Gives back the mapped pages of a tensor that has been copied elsewhere.
  void Release(const StoredTensor& tensor) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace foveate
