// Models split over several files "<stem>-00001-of-0000N.gguf". Internal to the room.
#pragma once

#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "format/gguf_parser.h"

namespace foveate {

// The shards after the first, whose image is given and receives their tensors; none when the model
// is not split. Throws as GgufFile::Open does, and Error(kInvalidArgument) with the name to open
// instead when `path` is another shard than the first.
std::vector<MappedFile> OpenOtherShards(const std::string& path, GgufImage* first);

}  // namespace foveate
