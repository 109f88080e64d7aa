// Multi-dimensional tiles: an order of a grid's tokens in which those of a small box lie side by
// side, so that a neighborhood is a few whole tiles instead of a piece of very many. The "token
// permutation" of Hassani et al. 2025, arXiv 2504.16922.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attention/pattern.h"
#include "mechanisms/neighborhood_grid.h"

namespace foveate {

// The order with the box that visits the fewest tiles of 64 x 64; null if that is hardly fewer than
// all of them, or if tokens lie well as they are.
std::shared_ptr<const TokenOrder> TiledOrder(const NeighborhoodGrid& grid);

// Places: dilation group by group, box by box, token by token of a box, all in row-major order.
// `box` holds at most 64 tokens. Groups are filled up to whole boxes.
std::shared_ptr<const TokenOrder> MakeTiledOrder(const NeighborhoodGrid& grid, const BoxSides& box);

}  // namespace foveate
