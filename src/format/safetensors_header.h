// The header of one safetensors file, taken apart and checked. Internal to the room.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/stored_tensor.h"

namespace foveate {

struct SafetensorsImage {
  std::vector<StoredTensor> tensors;  // sorted by name; views into the bytes that were parsed
  std::map<std::string, std::string> metadata;
};

// Checks the whole header, and that the tensors cover the data without hole or overlap. Throws
// Error(kCorruptFile) naming file, tensor and reason.
SafetensorsImage ParseSafetensorsImage(std::span<const std::byte> bytes, const std::string& file);

// The type that a header calls `dtype`, which is also the name that the writer uses.
std::optional<TensorType> SafetensorsType(std::string_view dtype);

inline constexpr char kSafetensorsMetadata[] = "__metadata__";  // the one key that is no tensor

}  // namespace foveate
