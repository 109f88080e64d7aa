// The work of one attention call, listed: for each tile of query rows the runs of key tiles that it
// visits and whether they need a mask. Built from a pattern in time and memory of what it lists;
// the same for all heads, layers and steps of that pattern and shape.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/pattern.h"

namespace foveate {

inline constexpr std::int64_t kTileKeys = 64;  // a page of the KV cache

// Key tiles [begin, end), all full or all partial. In a full one every row attends all keys; of a
// last tile that the keys do not fill, a mask has to hide the rest, so it is always partial.
struct TileRun {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool partial = false;
};

// The tile of rows that begins at a row: it ends where the next one begins, at a multiple of
// `tile_rows`, counted in positions where keys >= queries (so that a prompt cut into chunks is cut
// alike).
Range RowTile(const AttentionShape& shape, std::int64_t first_row, std::int64_t tile_rows);

// Appends the tiles of `tile_keys` keys that a band of rows visits, in order.
void AppendTileRuns(const Coverage& cover, std::int64_t tile_keys, std::vector<TileRun>& runs);

struct ScheduleItem {
  Range rows;
  std::int64_t first_run = 0;  // of Schedule::runs()
  std::int64_t run_count = 0;
  std::int64_t tiles = 0;  // its cost
};

class Schedule {
 public:
  Schedule() = default;

  // Throws what pattern->Check throws, and Error(kInvalidArgument) for tile_rows outside 1 .. 64 or
  // negative sizes.
  Schedule(PatternPtr pattern, const AttentionShape& shape, std::int64_t tile_rows = 64);

  const Pattern& pattern() const { return *pattern_; }
  const AttentionShape& shape() const { return shape_; }

  // In the order of their rows; rows that see nothing have an item without runs.
  std::span<const ScheduleItem> items() const { return items_; }
  std::span<const TileRun> runs(const ScheduleItem& item) const {
    return std::span(runs_).subspan(item.first_run, item.run_count);
  }

  // Indices of items(), the most costly first: the order in which threads take them.
  std::span<const std::int64_t> order() const { return order_; }

  std::int64_t full_tiles() const { return full_tiles_; }
  std::int64_t partial_tiles() const { return partial_tiles_; }
  std::int64_t bytes() const;  // memory that the lists take

 private:
  void AddItem(Range rows);

  PatternPtr pattern_;
  AttentionShape shape_;
  std::vector<ScheduleItem> items_;
  std::vector<TileRun> runs_;
  std::vector<std::int64_t> order_;
  std::int64_t full_tiles_ = 0;
  std::int64_t partial_tiles_ = 0;
};

// Of a call as the operator runs it: over the places of the order that its pattern declares (null:
// none), which the second asks for.
Schedule OrderedSchedule(const PatternPtr& pattern, const AttentionShape& shape,
                         const TokenOrder* order);
Schedule OrderedSchedule(const PatternPtr& pattern, const AttentionShape& shape);

}  // namespace foveate
