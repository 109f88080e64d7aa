#include "mechanisms/neighborhood_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <tuple>

#include "attention/schedule.h"
#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::int64_t kMostStrides = std::int64_t{1} << 24;  // that a sweep tries

// Tiles of one axis; a tile of a grid is visited, or full, if it is so on every axis, so that sums
// and maxima multiply.
struct AxisCount {
  std::int64_t dense = 0, worst = 0, visited = 0, full = 0, query_tiles = 0, pairs = 0;
};

struct SeenTiles {
  std::int64_t visited = 0, full = 0;
};

// Of a tile of queries that sees `any`, and as a whole `all`. A last tile may reach beyond the
// group: nobody sees what is there.
SeenTiles CountSeen(Range any, Range all, std::int64_t group_length, std::int64_t tile,
                    bool dynamic) {
  const std::int64_t origin = dynamic ? any.begin : any.begin / tile * tile;
  SeenTiles seen{.visited = DivideUp(any.end - origin, tile)};
  for (std::int64_t i = 0; i < seen.visited; ++i) {
    const std::int64_t begin = origin + i * tile;
    const std::int64_t end = std::min(begin + tile, dynamic ? any.end : group_length);
    seen.full += all.begin <= begin && end <= all.end;
  }
  return seen;
}

AxisCount CountAxis(const NeighborhoodAxis& axis, std::int64_t query_tile, std::int64_t key_tile,
                    bool dynamic) {
  AxisCount count{.dense = DivideUp(axis.length, key_tile)};
  for (std::int64_t group = 0; group < axis.dilation; ++group) {
    const std::int64_t length = axis.GroupLength(group);
    for (std::int64_t first = 0; first < length; first += query_tile) {
      const Range of_first = axis.Seen(group, first);
      const Range of_last = axis.Seen(group, std::min(first + query_tile, length) - 1);
      const SeenTiles seen = CountSeen({of_first.begin, of_last.end}, {of_last.begin, of_first.end},
                                       length, key_tile, dynamic);
      count.worst = std::max(count.worst, seen.visited);
      count.visited += seen.visited;
      count.full += seen.full;
      ++count.query_tiles;
    }
    for (std::int64_t member = 0; member < length; ++member) {
      count.pairs += axis.Seen(group, member).size();
    }
  }
  return count;
}

NeighborhoodPlan Combined(const NeighborhoodGrid& grid, const TileShapes& tiles,
                          const std::vector<AxisCount>& counts) {
  NeighborhoodPlan plan{grid, tiles, 1, 1, 1, 1, 1, 1};
  for (const AxisCount& count : counts) {
    plan.dense_tiles *= static_cast<double>(count.dense);
    plan.worst_tiles *= static_cast<double>(count.worst);
    plan.visited_tiles *= static_cast<double>(count.visited);
    plan.full_tiles *= static_cast<double>(count.full);
    plan.query_tiles *= static_cast<double>(count.query_tiles);
    plan.pairs *= static_cast<double>(count.pairs);
  }
  return plan;
}

double Volume(const BoxSides& box) {
  return std::accumulate(box.begin(), box.end(), 1.0, std::multiplies<>());
}

void CheckBox(const char* name, const BoxSides& box, std::size_t axes) {
  const bool sides = std::all_of(box.begin(), box.end(), [](auto side) { return side >= 1; });
  if (box.size() == axes && sides) return;
  Throw(ErrorCode::kInvalidArgument, "{} {}: expected {} sides of 1 or more, as the grid has axes",
        name, fmt::join(box, "x"), axes);
}

std::vector<std::int64_t> StridesOf(const NeighborhoodGrid& grid) {
  std::vector<std::int64_t> strides;
  for (const NeighborhoodAxis& axis : grid.axes) strides.push_back(axis.stride);
  return strides;
}

}  // namespace

double NeighborhoodPlan::FlopBound() const {
  double bound = 1;
  for (const NeighborhoodAxis& axis : grid.axes) {
    bound *= static_cast<double>(axis.length) / static_cast<double>(axis.window);
  }
  return bound;
}

double NeighborhoodPlan::WorstBound() const { return dense_tiles / worst_tiles; }
double NeighborhoodPlan::MeanBound() const { return dense_tiles * query_tiles / visited_tiles; }
double NeighborhoodPlan::PartialShare() const { return 1 - full_tiles / visited_tiles; }

double NeighborhoodPlan::WastedShare() const {
  return 1 - pairs / (visited_tiles * Volume(tiles.query) * Volume(tiles.key));
}

double NeighborhoodPlan::EndToEnd(double share) const {
  return 1 / (1 - share + share / WorstBound());
}

NeighborhoodPlan PlanNeighborhood(const NeighborhoodGrid& grid, const TileShapes& tiles) {
  CheckBox("query tile", tiles.query, grid.axes.size());
  CheckBox("key tile", tiles.key, grid.axes.size());
  std::vector<AxisCount> counts;
  for (std::size_t a = 0; a < grid.axes.size(); ++a) {
    counts.push_back(CountAxis(grid.axes[a], tiles.query[a], tiles.key[a], tiles.dynamic));
  }
  return Combined(grid, tiles, counts);
}

std::vector<TileShapes> KernelTiles(std::size_t axes) {
  std::vector<TileShapes> all;
  for (const BoxSides& box : BoxesOfVolume(kTileKeys, axes)) all.push_back({box, box});
  return all;
}

std::vector<NeighborhoodPlan> SweepStrides(const NeighborhoodGrid& grid, const TileShapes& tiles) {
  CheckBox("query tile", tiles.query, grid.axes.size());
  CheckBox("key tile", tiles.key, grid.axes.size());
  std::vector<std::vector<AxisCount>> counts;  // [axes][stride - 1]
  std::int64_t vectors = 1;
  for (const NeighborhoodAxis& axis : grid.axes) {
    if (axis.window > kMostStrides / vectors) {
      Throw(ErrorCode::kLimit, "a sweep over more than {} strides", kMostStrides);
    }
    vectors *= axis.window;
  }
  for (std::size_t a = 0; a < grid.axes.size(); ++a) {
    counts.emplace_back();
    NeighborhoodAxis axis = grid.axes[a];
    for (axis.stride = 1; axis.stride <= axis.window; ++axis.stride) {
      counts.back().push_back(CountAxis(axis, tiles.query[a], tiles.key[a], tiles.dynamic));
    }
  }
  std::vector<double> best(vectors);  // bound of this stride vector and all smaller ones
  std::vector<NeighborhoodPlan> kept;
  for (std::int64_t index = 0; index < vectors; ++index) {
    NeighborhoodGrid strided = grid;
    std::vector<AxisCount> of_axes(grid.axes.size());
    std::int64_t rest = index, step = 1;
    double bound = 1;
    for (std::size_t a = grid.axes.size(); a-- > 0;) {
      const std::int64_t window = grid.axes[a].window, stride = rest % window;
      strided.axes[a].stride = stride + 1;
      of_axes[a] = counts[a][stride];
      bound *= static_cast<double>(of_axes[a].dense) / static_cast<double>(of_axes[a].worst);
      if (stride > 0) best[index] = std::max(best[index], best[index - step]);
      rest /= window;
      step *= window;
    }
    if (bound <= best[index]) continue;
    best[index] = bound;
    kept.push_back(Combined(strided, tiles, of_axes));
  }
  return kept;
}

void RankPlans(std::vector<NeighborhoodPlan>& plans) {
  const auto key = [](const NeighborhoodPlan& plan) {
    return std::tuple(-plan.WorstBound(), -plan.MeanBound(), StridesOf(plan.grid), plan.tiles.query,
                      plan.tiles.key);
  };
  std::sort(plans.begin(), plans.end(),
            [&](const auto& a, const auto& b) { return key(a) < key(b); });
}

}  // namespace foveate
