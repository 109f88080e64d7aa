#include "mechanisms/mask_report.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::int64_t kMostGridTiles = std::int64_t{1} << 26;
constexpr std::int64_t kMostCountedTiles = 250'000;  // partial ones, of 64 rows: under a second
constexpr std::int64_t kMostRefinedKeys = 64;  // larger tiles stay as the pattern's cover has them

std::int64_t PairsOfRow(const Schedule& schedule, const ScheduleItem& item, std::int64_t row) {
  std::int64_t pairs = 0;
  for (const TileRun& run : schedule.runs(item)) {
    if (!run.partial) {
      pairs += (run.end - run.begin) * kTileKeys;
      continue;
    }
    for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
      pairs += std::popcount(schedule.pattern().Bits(schedule.shape(), row, tile * kTileKeys));
    }
  }
  return pairs;
}

// What the elements of a tile, at most 64 keys wide, make it.
TileKind KindOf(const Pattern& pattern, const AttentionShape& shape, Range rows, Range keys) {
  std::int64_t seen = 0;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const std::uint64_t bits = pattern.Bits(shape, row, keys.begin);
    seen += std::popcount(bits << (64 - keys.size()));
  }
  if (seen == 0) return TileKind::kEmpty;
  return seen == rows.size() * keys.size() ? TileKind::kFull : TileKind::kPartial;
}

// Calls visit(first tile, end, kind) for the tiles of a band of rows that are not empty. `budget`:
// partial tiles of which the elements may still be looked at.
template <typename Visit>
void ForTiles(const Pattern& pattern, const AttentionShape& shape, Range rows, std::int64_t tile,
              std::int64_t& budget, Visit visit) {
  std::vector<TileRun> runs;
  AppendTileRuns(pattern.Cover(shape, rows), tile, runs);
  for (const TileRun& run : runs) {
    if (!run.partial) {
      visit(run.begin, run.end, TileKind::kFull);
    } else if (tile > kMostRefinedKeys || budget < run.end - run.begin) {
      visit(run.begin, run.end, TileKind::kPartial);
    } else {
      budget -= run.end - run.begin;
      for (std::int64_t t = run.begin; t < run.end; ++t) {
        const Range keys{t * tile, std::min((t + 1) * tile, shape.keys)};
        const TileKind kind = KindOf(pattern, shape, rows, keys);
        if (kind != TileKind::kEmpty) visit(t, t + 1, kind);
      }
    }
  }
}

}  // namespace

MaskPairs CountPairs(const Schedule& schedule) {
  MaskPairs count;
  const std::int64_t step = 1 + schedule.partial_tiles() / kMostCountedTiles;
  count.exact = step == 1;
  const auto items = schedule.items();
  for (std::size_t index = 0; index < items.size(); index += step) {
    const ScheduleItem& item = items[index];
    const std::int64_t weight =
        std::min<std::int64_t>(step, static_cast<std::int64_t>(items.size() - index));
    for (std::int64_t row = item.rows.begin; row < item.rows.end; ++row) {
      const std::int64_t pairs = PairsOfRow(schedule, item, row);
      count.pairs += pairs * weight;
      if (pairs == 0) count.empty_rows += weight;
    }
  }
  return count;
}

TileGrid MakeTileGrid(const Pattern& pattern, const AttentionShape& shape, std::int64_t tile) {
  std::int64_t budget = kMostCountedTiles;
  TileGrid grid{.tile = tile, .columns = DivideUp(shape.keys, tile)};
  for (std::int64_t row = 0; row < shape.queries;) {
    const Range rows = RowTile(shape, row, tile);
    if (++grid.rows * grid.columns > kMostGridTiles) {
      Throw(ErrorCode::kLimit, "a picture of more than {} tiles", kMostGridTiles);
    }
    grid.kinds.resize(grid.rows * grid.columns);
    TileKind* line = grid.kinds.data() + (grid.rows - 1) * grid.columns;
    ForTiles(pattern, shape, rows, tile, budget,
             [&](std::int64_t begin, std::int64_t end, TileKind kind) {
               std::fill(line + begin, line + end, kind);
             });
    row = rows.end;
  }
  return grid;
}

TileCounts CountTiles(const Pattern& pattern, const AttentionShape& shape, std::int64_t tile) {
  std::int64_t budget = kMostCountedTiles;
  TileCounts counts;
  for (std::int64_t row = 0; row < shape.queries;) {
    const Range rows = RowTile(shape, row, tile);
    counts.total += DivideUp(shape.keys, tile);
    ForTiles(pattern, shape, rows, tile, budget,
             [&](std::int64_t begin, std::int64_t end, TileKind kind) {
               (kind == TileKind::kFull ? counts.full : counts.partial) += end - begin;
             });
    row = rows.end;
  }
  return counts;
}

std::vector<std::int64_t> ReachPerLayer(const Pattern& pattern, std::int64_t length,
                                        std::int64_t tile, std::int64_t layers) {
  std::int64_t budget = kMostCountedTiles;
  const AttentionShape shape{length, length};
  std::vector<Ranges> sees;  // by tile of rows: tiles of keys
  for (std::int64_t row = 0; row < length; row += tile) {
    Ranges& seen = sees.emplace_back();
    ForTiles(pattern, shape, RowTile(shape, row, tile), tile, budget,
             [&](std::int64_t begin, std::int64_t end, TileKind) { seen.push_back({begin, end}); });
    seen = Normalised(std::move(seen));
  }
  std::vector<std::int64_t> reach;
  Ranges reached = {{std::ssize(sees) - 1, std::ssize(sees)}};
  while (std::ssize(reach) < layers) {
    Ranges next;
    for (const Range& range : reached) {
      for (std::int64_t t = range.begin; t < range.end; ++t) {
        next.insert(next.end(), sees[t].begin(), sees[t].end());
      }
    }
    next = Normalised(std::move(next));
    if (next == reached) break;
    reach.push_back(Size(next));
    reached = std::move(next);
  }
  return reach;
}

double Speedup(const Schedule& schedule, int threads) {
  std::priority_queue<std::int64_t, std::vector<std::int64_t>, std::greater<>> ends;
  for (int thread = 0; thread < threads; ++thread) ends.push(0);
  std::int64_t total = 0, last_end = 0;
  for (const std::int64_t index : schedule.order()) {
    const std::int64_t tiles = schedule.items()[index].tiles;
    const std::int64_t end = ends.top() + tiles;
    ends.pop();
    ends.push(end);
    total += tiles;
    last_end = std::max(last_end, end);
  }
  return last_end == 0 ? 1.0 : static_cast<double>(total) / static_cast<double>(last_end);
}

}  // namespace foveate
