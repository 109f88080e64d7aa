// What neighborhood attention can save, before anything runs: the tiles of keys that a kernel with
// tiles of given shapes has to visit. The simulator of Hassani et al. 2025, "Generalized
// Neighborhood Attention", arXiv 2504.16922.
#pragma once

#include <cstdint>
#include <vector>

#include "mechanisms/neighborhood_grid.h"

namespace foveate {

struct TileShapes {
  BoxSides query;
  BoxSides key;
  // Tiles of keys are cut from where a query tile's neighborhood begins, not from the grid's
  // origin.
  bool dynamic = false;
};

// A grid with tiles of given shapes. Sums are over all tiles of queries.
struct NeighborhoodPlan {
  NeighborhoodGrid grid;
  TileShapes tiles;
  double dense_tiles = 0;    // of keys: what a tile of queries visits in dense attention
  double worst_tiles = 0;    // what the worst tile of queries visits
  double visited_tiles = 0;  // sum
  double full_tiles = 0;     // sum of those in which every query sees every key
  double query_tiles = 0;
  double pairs = 0;  // (query, key) that are attended

  // Upper bounds of the speed-up over dense attention.
  double FlopBound() const;   // tokens / window: no tile wasted, causality not counted
  double WorstBound() const;  // dense / worst
  double MeanBound() const;   // dense / mean
  double PartialShare() const;
  double WastedShare() const;  // of the pairs in visited tiles that are not attended
  bool perfect() const { return full_tiles == visited_tiles; }  // block-sparse: no partial tile

  // Of a model that spends `share` of its time in attention, by the worst bound.
  double EndToEnd(double share) const;
};

// Throws Error(kInvalidArgument) for tiles with another number of axes than the grid, or sides < 1.
NeighborhoodPlan PlanNeighborhood(const NeighborhoodGrid& grid, const TileShapes& tiles);

// All pairs of equal boxes that a tile of 64 queries and 64 keys can be, as sides of powers of two.
std::vector<TileShapes> KernelTiles(std::size_t axes);

// The grid with every stride that raises the worst bound over that of all smaller ones (no stride
// larger on any axis), for one pair of tile shapes.
std::vector<NeighborhoodPlan> SweepStrides(const NeighborhoodGrid& grid, const TileShapes& tiles);

// The best first: by worst bound, then mean bound, then smaller strides, then tiles.
void RankPlans(std::vector<NeighborhoodPlan>& plans);

}  // namespace foveate
