// Tokens on a grid of one to three axes, of which each sees its neighbours: the arithmetic of
// neighborhood attention, axis by axis. Hassani et al. 2025, "Generalized Neighborhood Attention",
// arXiv 2504.16922; with stride 1 it is that of Hassani et al. 2023, arXiv 2204.07143.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention/ranges.h"
#include "mechanisms/params.h"

namespace foveate {

// Coordinates with the same rest by `dilation` are a group, and x is member x / dilation of group
// x % dilation. `stride` members at a time share the window of their leader.
struct NeighborhoodAxis {
  std::int64_t length = 1;
  std::int64_t window = 1;    // members that are seen
  std::int64_t stride = 1;    // 1 to window
  std::int64_t dilation = 1;  // dilation * window is at most length
  bool causal = false;        // hides the members after the own

  std::int64_t GroupLength(std::int64_t group) const {
    return (length - group + dilation - 1) / dilation;
  }

  // The members that a member of the group sees. Neither end decreases from member to member.
  Range Seen(std::int64_t group, std::int64_t member) const;

  // The same for coordinates: those of the range with the rest of x by `dilation`.
  Range SeenFrom(std::int64_t x) const;

  bool full() const { return window == length && !causal; }
};

struct NeighborhoodGrid {
  std::vector<NeighborhoodAxis> axes;  // tokens are in row-major order, the last axis innermost

  std::int64_t tokens() const;
  std::int64_t slab() const { return tokens() / axes.front().length; }  // tokens per step of axis 0
  std::string ShapeText() const;                                        // "30x48x80"
  std::string SpecText() const;  // "neighborhood:shape=30x48x80,window=.."
};

// Of the parameters shape, window, stride, dilation and causal. Throws Error(kInvalidArgument) that
// names the axis and the rule that does not hold.
NeighborhoodGrid MakeNeighborhoodGrid(const Params& params);

// The same from lists: as many numbers as axes, or one for all.
NeighborhoodGrid MakeNeighborhoodGrid(const IntegerList& shape, const IntegerList& window,
                                      const IntegerList& stride, const IntegerList& dilation,
                                      const IntegerList& causal);

using BoxSides = std::vector<std::int64_t>;  // tokens of a box along each axis

// The boxes of so many tokens, a power of two, whose sides are powers of two.
std::vector<BoxSides> BoxesOfVolume(std::int64_t volume, std::size_t axes);

}  // namespace foveate
