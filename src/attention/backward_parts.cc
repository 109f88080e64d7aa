#include "attention/backward_parts.h"

#include <algorithm>

#include "base/checked.h"

namespace foveate {
namespace {

// Parts of a call: enough that many threads end together.
constexpr std::int64_t kParts = 32;

// Parts of a KV head at most: each has gradients of all keys that it visits.
constexpr std::int64_t kMostParts = 16;

// Tiles of rows of a part at least, each head counted: what they add to the gradients of a tile of
// keys is a multiple of the work of adding up parts.
constexpr std::int64_t kLeastRowTiles = 4;

// In tiles of 64 x 64; packing the rows is about one.
std::int64_t CostOf(const HeadGroup& group, const ScheduleItem& item) {
  return (item.tiles + 1) * group.heads;
}

void Add(const BackwardUnit& unit, const HeadGroup& group, BackwardPart& part) {
  part.units.push_back(unit);
  const std::span<const TileRun> runs = group.schedule->runs(group.schedule->items()[unit.item]);
  if (runs.empty()) return;
  const Range tiles{runs.front().begin, runs.back().end};
  part.tiles = part.tiles.empty() ? tiles
                                  : Range{std::min(part.tiles.begin, tiles.begin),
                                          std::max(part.tiles.end, tiles.end)};
}

}  // namespace

std::vector<BackwardPart> CutBackward(std::span<const HeadGroup> groups, std::int64_t first_group,
                                      std::int64_t kv_heads) {
  std::int64_t cost = 0, row_tiles = 0, heads = 0;
  for (const HeadGroup& group : groups) {
    heads += group.heads;
    row_tiles += std::ssize(group.schedule->items()) * group.heads;
    for (const ScheduleItem& item : group.schedule->items()) cost += CostOf(group, item);
  }
  const std::int64_t most = std::clamp<std::int64_t>(row_tiles / kLeastRowTiles, 1, kMostParts);
  const std::int64_t count = std::min(DivideUp(kParts, kv_heads), most);
  std::vector<BackwardPart> parts;
  std::int64_t before = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Schedule& schedule = *groups[g].schedule;
    for (std::int64_t item = 0; item < std::ssize(schedule.items()); ++item) {
      // The part in which the middle of the item lies.
      const std::int64_t own = CostOf(groups[g], schedule.items()[item]);
      const std::int64_t index = (2 * before + own) * count / (2 * cost);
      while (std::ssize(parts) <= index) parts.push_back({.dsinks = std::vector<double>(heads)});
      Add({first_group + static_cast<std::int64_t>(g), item}, groups[g], parts[index]);
      before += own;
    }
  }
  std::erase_if(parts, [](const BackwardPart& part) { return part.units.empty(); });
  return parts;
}

}  // namespace foveate
