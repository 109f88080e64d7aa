// Holds what a pattern and its schedule say against the definition, element by element.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "attention/pattern.h"
#include "attention/schedule.h"

namespace foveate::testing {

using Mask = std::vector<std::vector<bool>>;  // [queries][keys]

inline Mask MaskOf(const Pattern& pattern, const AttentionShape& shape) {
  Mask mask(shape.queries, std::vector<bool>(shape.keys));
  for (std::int64_t row = 0; row < shape.queries; ++row) {
    for (std::int64_t key = 0; key < shape.keys; ++key) {
      mask[row][key] = pattern.Attends(shape, row, key);
    }
  }
  return mask;
}

inline bool Holds(const Ranges& set, std::int64_t value) {
  return std::any_of(set.begin(), set.end(),
                     [&](const Range& range) { return range.begin <= value && value < range.end; });
}

inline void ExpectNormalForm(const Ranges& set, std::int64_t keys) {
  std::int64_t end = -1;
  for (const Range& range : set) {
    ASSERT_LT(end, range.begin);
    ASSERT_LT(range.begin, range.end);
    end = range.end;
  }
  ASSERT_LE(end, keys);
  if (!set.empty()) {
    ASSERT_GE(set.front().begin, 0);
  }
}

// all is within what every row sees, any holds what some row sees.
inline void ExpectCoverHolds(const Pattern& pattern, const AttentionShape& shape, const Mask& mask,
                             Range rows) {
  const Coverage cover = pattern.Cover(shape, rows);
  ExpectNormalForm(cover.all, shape.keys);
  ExpectNormalForm(cover.any, shape.keys);
  for (std::int64_t key = 0; key < shape.keys; ++key) {
    bool every = true, some = false;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      every = every && mask[row][key];
      some = some || mask[row][key];
    }
    if (Holds(cover.all, key)) {
      ASSERT_TRUE(every) << "key " << key << " is not seen by all of rows " << rows.begin << " to "
                         << rows.end;
      ASSERT_TRUE(Holds(cover.any, key)) << "key " << key;
    }
    if (some) {
      ASSERT_TRUE(Holds(cover.any, key))
          << "key " << key << " is seen by rows " << rows.begin << " to " << rows.end;
    }
  }
}

inline void ExpectBitsHold(const Pattern& pattern, const AttentionShape& shape, const Mask& mask,
                           std::int64_t first_key) {
  for (std::int64_t row = 0; row < shape.queries; ++row) {
    const std::uint64_t bits = pattern.Bits(shape, row, first_key);
    for (std::int64_t k = 0; k < 64; ++k) {
      const bool expected = first_key + k < shape.keys && mask[row][first_key + k];
      ASSERT_EQ((bits >> k & 1) != 0, expected) << "row " << row << " key " << first_key + k;
    }
  }
}

// Full tiles are all ones, tiles that are not listed all zeros; items tile the rows, cut at
// multiples of tile_rows in positions, and `order` takes them by cost.
inline void ExpectScheduleHolds(const PatternPtr& pattern, const AttentionShape& shape,
                                const Mask& mask, std::int64_t tile_rows) {
  const Schedule schedule(pattern, shape, tile_rows);
  const std::int64_t origin = std::max<std::int64_t>(shape.keys - shape.queries, 0);
  std::int64_t next_row = 0, full = 0, partial = 0;
  for (const ScheduleItem& item : schedule.items()) {
    ASSERT_EQ(item.rows.begin, next_row);
    ASSERT_GT(item.rows.end, item.rows.begin);
    ASSERT_EQ((origin + item.rows.begin) / tile_rows, (origin + item.rows.end - 1) / tile_rows);
    ASSERT_TRUE(item.rows.end == shape.queries || (origin + item.rows.end) % tile_rows == 0);
    next_row = item.rows.end;
    std::vector<char> kind(shape.keys / kTileKeys + 1, 'e');
    std::int64_t tiles = 0, end = -1;
    for (const TileRun& run : schedule.runs(item)) {
      ASSERT_LT(run.begin, run.end);
      ASSERT_GE(run.begin, end);
      end = run.end;
      for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
        ASSERT_LT(tile * kTileKeys, shape.keys);
        kind[tile] = run.partial ? 'p' : 'f';
        ++(run.partial ? partial : full);
        ++tiles;
      }
    }
    ASSERT_EQ(item.tiles, tiles);
    for (std::int64_t row = item.rows.begin; row < item.rows.end; ++row) {
      for (std::int64_t key = 0; key < shape.keys; ++key) {
        const char tile = kind[key / kTileKeys];
        if (tile == 'p') continue;
        ASSERT_EQ(mask[row][key], tile == 'f') << "row " << row << " key " << key;
      }
    }
    if (shape.keys % kTileKeys != 0) {
      ASSERT_NE(kind[shape.keys / kTileKeys], 'f');
    }
  }
  ASSERT_EQ(next_row, shape.queries);
  ASSERT_EQ(schedule.full_tiles(), full);
  ASSERT_EQ(schedule.partial_tiles(), partial);
  std::vector<bool> taken(schedule.items().size());
  std::int64_t cost = INT64_MAX;
  for (const std::int64_t index : schedule.order()) {
    ASSERT_FALSE(taken.at(index));
    taken[index] = true;
    ASSERT_LE(schedule.items()[index].tiles, cost);
    cost = schedule.items()[index].tiles;
  }
  ASSERT_EQ(schedule.order().size(), taken.size());
}

// Everything at once, for bands and tiles of many sizes.
inline void ExpectPatternHolds(const PatternPtr& pattern, const AttentionShape& shape,
                               std::mt19937& random) {
  const Mask mask = MaskOf(*pattern, shape);
  for (std::int64_t first = 0; first < shape.keys; first += 64) {
    ExpectBitsHold(*pattern, shape, mask, first);
  }
  if (shape.keys > 0) {
    ExpectBitsHold(*pattern, shape, mask,
                   std::uniform_int_distribution<std::int64_t>(0, shape.keys - 1)(random));
  }
  for (int band = 0; band < 12 && shape.queries > 0; ++band) {
    const std::int64_t begin =
        std::uniform_int_distribution<std::int64_t>(0, shape.queries - 1)(random);
    const std::int64_t most = std::min<std::int64_t>(shape.queries - begin, 1 + 6 * band);
    const std::int64_t size = std::uniform_int_distribution<std::int64_t>(1, most)(random);
    ExpectCoverHolds(*pattern, shape, mask, {begin, begin + size});
  }
  for (const std::int64_t tile_rows : {1, 5, 16, 64}) {
    ExpectScheduleHolds(pattern, shape, mask, tile_rows);
  }
}

// No row from `position` on sees a key before it that Kept lets go, in a sequence of `length`.
inline void ExpectKeptHolds(const Pattern& pattern, std::int64_t length) {
  const std::optional<KeptKeys> kept = pattern.Kept();
  if (!kept) return;
  const AttentionShape shape{length, length};
  for (std::int64_t position = 0; position < length; ++position) {
    for (std::int64_t key = kept->first; key < position - kept->last; ++key) {
      for (std::int64_t row = position; row < length; ++row) {
        ASSERT_FALSE(pattern.Attends(shape, row, key))
            << "row " << row << " sees key " << key << ", forgotten before " << position;
      }
    }
  }
}

}  // namespace foveate::testing
