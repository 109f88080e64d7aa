#include "attention/schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

// Tiles that hold a key of the set.
Ranges TouchedTiles(const Ranges& keys, std::int64_t tile_keys) {
  Ranges tiles;
  tiles.reserve(keys.size());
  for (const Range& range : keys) {
    const Range touched{range.begin / tile_keys, DivideUp(range.end, tile_keys)};
    if (!tiles.empty() && touched.begin <= tiles.back().end) {
      tiles.back().end = touched.end;
    } else {
      tiles.push_back(touched);
    }
  }
  return tiles;
}

// Tiles that lie wholly in one range of the set.
Ranges WholeTiles(const Ranges& keys, std::int64_t tile_keys) {
  Ranges tiles;
  for (const Range& range : keys) {
    const Range whole{DivideUp(range.begin, tile_keys), range.end / tile_keys};
    if (!whole.empty()) tiles.push_back(whole);
  }
  return tiles;
}

}  // namespace

Range RowTile(const AttentionShape& shape, std::int64_t first_row, std::int64_t tile_rows) {
  const std::int64_t origin = std::max<std::int64_t>(shape.keys - shape.queries, 0);
  const std::int64_t end = first_row + tile_rows - (origin + first_row) % tile_rows;
  return {first_row, std::min(end, shape.queries)};
}

void AppendTileRuns(const Coverage& cover, std::int64_t tile_keys, std::vector<TileRun>& runs) {
  const Ranges full = WholeTiles(cover.all, tile_keys);
  auto next_full = full.begin();
  for (const Range& touched : TouchedTiles(cover.any, tile_keys)) {
    std::int64_t begin = touched.begin;
    for (; next_full != full.end() && next_full->end <= touched.end; ++next_full) {
      if (begin < next_full->begin) runs.push_back({begin, next_full->begin, true});
      runs.push_back({next_full->begin, next_full->end, false});
      begin = next_full->end;
    }
    if (begin < touched.end) runs.push_back({begin, touched.end, true});
  }
}

Schedule::Schedule(PatternPtr pattern, const AttentionShape& shape, std::int64_t tile_rows)
    : pattern_(std::move(pattern)), shape_(shape) {
  if (tile_rows < 1 || tile_rows > 64) {
    Throw(ErrorCode::kInvalidArgument, "tile_rows is {}, expected 1 to 64", tile_rows);
  }
  if (shape.queries < 0 || shape.keys < 0) {
    Throw(ErrorCode::kInvalidArgument, "a call of {} queries and {} keys: sizes are not negative",
          shape.queries, shape.keys);
  }
  pattern_->Check(shape);
  items_.reserve(shape.queries / tile_rows + 2);
  for (std::int64_t row = 0; row < shape.queries; row = items_.back().rows.end) {
    AddItem(RowTile(shape, row, tile_rows));
  }
  order_.resize(items_.size());
  std::iota(order_.begin(), order_.end(), std::int64_t{0});
  std::sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
    return std::pair(-items_[a].tiles, a) < std::pair(-items_[b].tiles, b);
  });
}

void Schedule::AddItem(Range rows) {
  const auto first_run = static_cast<std::int64_t>(runs_.size());
  AppendTileRuns(pattern_->Cover(shape_, rows), kTileKeys, runs_);
  ScheduleItem item{rows, first_run, static_cast<std::int64_t>(runs_.size()) - first_run, 0};
  for (const TileRun& run : runs(item)) {
    (run.partial ? partial_tiles_ : full_tiles_) += run.end - run.begin;
    item.tiles += run.end - run.begin;
  }
  items_.push_back(item);
}

Schedule OrderedSchedule(const PatternPtr& pattern, const AttentionShape& shape) {
  pattern->Check(shape);
  return OrderedSchedule(pattern, shape, pattern->Order(shape).get());
}

Schedule OrderedSchedule(const PatternPtr& pattern, const AttentionShape& shape,
                         const TokenOrder* order) {
  if (order == nullptr) return Schedule(pattern, shape);
  const std::int64_t places = std::ssize(order->tokens);
  return Schedule(order->pattern, {places, places});
}

std::int64_t Schedule::bytes() const {
  return static_cast<std::int64_t>(items_.capacity() * sizeof(ScheduleItem) +
                                   runs_.capacity() * sizeof(TileRun) +
                                   order_.capacity() * sizeof(std::int64_t));
}

}  // namespace foveate
