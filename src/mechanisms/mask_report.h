// What a mask holds and what it costs, counted from runs and tiles: quick also where the mask
// itself would have a million rows.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/schedule.h"

namespace foveate {

struct MaskPairs {
  std::int64_t pairs = 0;       // (row, key) that are attended
  bool exact = true;            // false: estimated from a sample of the tiles
  std::int64_t empty_rows = 0;  // rows that see nothing
};

// Counts all tiles of the schedule, or an even sample of them where that would take seconds.
MaskPairs CountPairs(const Schedule& schedule);

enum class TileKind : std::uint8_t { kEmpty, kPartial, kFull };

// A mask in tiles of `tile` rows and keys, the last ones perhaps smaller. Of tiles up to 64 the
// elements tell their kind, unless there are hundreds of thousands that are not plain: then, as
// with larger tiles, some may be called partial that are empty or full.
struct TileGrid {
  std::int64_t tile = 1;
  std::int64_t rows = 0;  // of tiles
  std::int64_t columns = 0;
  std::vector<TileKind> kinds;  // [rows][columns]

  TileKind At(std::int64_t row, std::int64_t column) const { return kinds[row * columns + column]; }
};

// Throws Error(kLimit) if it would have more than 2^26 tiles.
TileGrid MakeTileGrid(const Pattern& pattern, const AttentionShape& shape, std::int64_t tile);

struct TileCounts {
  std::int64_t full = 0;
  std::int64_t partial = 0;
  std::int64_t total = 0;
};

// The same in numbers, without a grid.
TileCounts CountTiles(const Pattern& pattern, const AttentionShape& shape, std::int64_t tile);

// Entry l: tiles of keys that the last tile of rows sees through l + 1 layers of this pattern; ends
// when it grows no more, at most with `layers`. For N = M.
std::vector<std::int64_t> ReachPerLayer(const Pattern& pattern, std::int64_t length,
                                        std::int64_t tile, std::int64_t layers);

// How many times faster than one thread `threads` of them finish, taking items in order; 1 where
// there is nothing to do.
double Speedup(const Schedule& schedule, int threads);

}  // namespace foveate
