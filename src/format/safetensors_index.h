// The index of a model in several safetensors files. Internal to the room.
#pragma once

#include <map>
#include <span>
#include <string>

namespace foveate {

// The weight map of `model.safetensors.index.json`: tensor name -> file name, each file name plain
// (no folder, no drive, no ".."). Throws Error(kCorruptFile).
std::map<std::string, std::string> ParseSafetensorsIndex(std::span<const std::byte> json,
                                                         const std::string& file);

// The shard `name` beside the index at `index_path`, symbolic links resolved. Throws
// Error(kNotFound) when it is missing, Error(kCorruptFile) when a link leaves the folder.
std::string ResolveShard(const std::string& index_path, const std::string& name);

}  // namespace foveate
