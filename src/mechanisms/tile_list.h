// Block sparsity: rows and keys are cut into tiles, and a list says which pairs of tiles are full.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "attention/pattern.h"
#include "mechanisms/params.h"

namespace foveate {

// How one axis is cut: into tiles of one size, the last one perhaps shorter, or at given edges.
class TileAxis {
 public:
  static TileAxis OfSize(std::int64_t size) { return {size, {}}; }
  // Throws Error(kInvalidArgument) naming the key unless the edges rise from 0.
  static TileAxis AtEdges(const Params& params, std::string_view key);

  Range Span(std::int64_t tile) const;  // may reach beyond the axis

  // Throws Error(kInvalidArgument) unless an axis of this length has all tiles up to `last_tile`,
  // and the edges, if given, end with it. `name`: "queries" or "keys".
  void Check(std::string_view mechanism, std::string_view name, std::int64_t length,
             std::int64_t last_tile) const;

 private:
  TileAxis(std::int64_t size, IntegerList edges) : size_(size), edges_(std::move(edges)) {}

  std::int64_t size_;  // 0: edges
  IntegerList edges_;
};

// The parameter `tiles` holds pairs (row tile, key tile); row tiles count the rows of the call.
PatternPtr MakeTileList(TileAxis rows, TileAxis keys, const Params& params);

}  // namespace foveate
