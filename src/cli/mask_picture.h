// Pictures of masks, tile by tile: in the terminal, as SVG and as PNG.
#pragma once

#include <string>

#include "mechanisms/mask_report.h"

namespace foveate::cli {

// The tile size at which the mask has at most `cells` tiles each way: `tile`, doubled as needed.
std::int64_t PictureTile(const AttentionShape& shape, std::int64_t tile, std::int64_t cells);

// Lines of block characters: full, partial, empty.
std::string TerminalPicture(const TileGrid& grid);

// Writes `path`, which ends in .svg or .png. Throws Error(kInvalidArgument or kIo).
void WritePicture(const std::string& path, const TileGrid& grid);

}  // namespace foveate::cli
