// safetensors: a JSON directory and raw bytes, mapped read-only; and a writer for results.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "format/stored_tensor.h"

namespace foveate {

class SafetensorsFile {
 public:
  // Opens a .safetensors file, or a model.safetensors.index.json with all of its shards, which must
  // lie beside it and hold exactly the tensors that it places in them. Throws Error: kCorruptFile
  // naming file, tensor and reason; kNotFound for a missing file or shard; kIo for what cannot be
  // read.
  static SafetensorsFile Open(const std::string& path);
  // Parses one image in memory (for tests and fuzzing); `bytes` must outlive the object.
  static SafetensorsFile Parse(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const;
  const std::vector<StoredTensor>& tensors() const;  // sorted by name
  const StoredTensor* FindTensor(std::string_view name) const;
  // The strings of __metadata__; of several shards together, in case of conflict the first one's.
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

// Writes tensors (their `bytes` row-major) to `path` through a temporary file beside it and a
// rename, so that `path` is at all times either absent, the old file or the whole new one. Throws
// Error: kInvalidArgument (equal names, bytes that do not match the shape), kUnsupported (a type
// that safetensors lacks), kIo.
void WriteSafetensors(const std::string& path, std::span<const StoredTensor> tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace foveate
