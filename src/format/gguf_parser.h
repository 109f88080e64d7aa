// One GGUF image (a file, or one shard of a split model) taken apart and checked. Internal to the
// room: gguf.cc joins images to a GgufFile.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "format/gguf.h"

namespace foveate {

struct GgufImage {
  std::uint32_t version = 0;
  std::vector<GgufPair> metadata;
  std::unordered_map<std::string_view, std::size_t> pair_index;  // by key, into `metadata`
  std::vector<StoredTensor> tensors;
  std::span<const std::byte> rest;  // what follows the last tensor, from an aligned offset on

  const GgufValue* Find(std::string_view key) const;  // null when absent
};

// Checks every count, length, offset and extent before it is used; the result holds views into
// `bytes`. Throws as GgufFile::Open does.
GgufImage ParseGgufImage(std::span<const std::byte> bytes, const std::string& file);

// The characters of the string element that starts at `bytes[*offset]`, which moves past it. Only
// for element bytes that ParseGgufImage has accepted.
std::string_view NextGgufString(std::span<const std::byte> bytes, std::size_t* offset);

// Bytes of one element, or 0 for strings and arrays; `type` must be a valid GgufType.
std::uint64_t GgufElementBytes(GgufType type);
const char* GgufTypeName(GgufType type);  // "u8" ... "string", "array", "f64"

}  // namespace foveate
