#include "mechanisms/neighborhood_grid.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::size_t kMostAxes = 3;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

std::int64_t OfAxis(std::string_view name, const IntegerList& values, const IntegerList& shape,
                    std::size_t axis) {
  if (values.size() == 1) return values.front();
  if (values.size() == shape.size()) return values[axis];
  Throw(ErrorCode::kInvalidArgument,
        "neighborhood: {} {} has {} axes and shape {} has {}, expected one number for each axis or "
        "one for all",
        name, fmt::join(values, "x"), values.size(), fmt::join(shape, "x"), shape.size());
}

void CheckAxis(std::size_t index, const NeighborhoodAxis& axis) {
  const auto at_least_one = [&](std::string_view name, std::int64_t value) {
    if (value >= 1) return;
    Throw(ErrorCode::kInvalidArgument, "neighborhood: axis {}: {} {}, expected 1 or more", index,
          name, value);
  };
  at_least_one("length", axis.length);
  at_least_one("window", axis.window);
  at_least_one("stride", axis.stride);
  at_least_one("dilation", axis.dilation);
  if (axis.window > axis.length) {
    Throw(ErrorCode::kInvalidArgument,
          "neighborhood: axis {}: window {} is larger than the grid's {}", index, axis.window,
          axis.length);
  }
  if (axis.stride > axis.window) {
    Throw(ErrorCode::kInvalidArgument, "neighborhood: axis {}: stride {} is larger than window {}",
          index, axis.stride, axis.window);
  }
  if (axis.dilation > axis.length / axis.window) {
    Throw(ErrorCode::kInvalidArgument,
          "neighborhood: axis {}: dilation {} x window {} = {} is beyond the grid's {}", index,
          axis.dilation, axis.window, axis.dilation * axis.window, axis.length);
  }
}

template <typename T>
std::string Joined(const std::vector<NeighborhoodAxis>& axes, T NeighborhoodAxis::* member) {
  std::vector<std::int64_t> values;
  for (const NeighborhoodAxis& axis : axes) values.push_back(axis.*member);
  return fmt::format("{}", fmt::join(values, "x"));
}

}  // namespace

Range NeighborhoodAxis::Seen(std::int64_t group, std::int64_t member) const {
  const std::int64_t last = GroupLength(group) - 1;
  const std::int64_t first_of_stride = member / stride * stride;
  if (causal) {
    const std::int64_t leader = std::min(first_of_stride + stride - 1, last);
    return {std::max<std::int64_t>(leader - window + 1, 0), member + 1};
  }
  const std::int64_t leader = std::min(first_of_stride + stride / 2, last);
  const std::int64_t begin =
      std::clamp<std::int64_t>(leader - window / 2, 0, last + 1 - window);  // inward at borders
  return {begin, begin + window};
}

Range NeighborhoodAxis::SeenFrom(std::int64_t x) const {
  const std::int64_t group = x % dilation;
  const Range members = Seen(group, x / dilation);
  return {group + dilation * members.begin, group + dilation * (members.end - 1) + 1};
}

std::int64_t NeighborhoodGrid::tokens() const {
  std::int64_t tokens = 1;
  for (const NeighborhoodAxis& axis : axes) tokens *= axis.length;
  return tokens;
}

std::string NeighborhoodGrid::ShapeText() const { return Joined(axes, &NeighborhoodAxis::length); }

std::string NeighborhoodGrid::SpecText() const {
  return fmt::format(
      "neighborhood:shape={},window={},stride={},dilation={},causal={}", ShapeText(),
      Joined(axes, &NeighborhoodAxis::window), Joined(axes, &NeighborhoodAxis::stride),
      Joined(axes, &NeighborhoodAxis::dilation), Joined(axes, &NeighborhoodAxis::causal));
}

NeighborhoodGrid MakeNeighborhoodGrid(const Params& params) {
  return MakeNeighborhoodGrid(params.List("shape"), params.List("window"), params.List("stride"),
                              params.List("dilation"), params.List("causal"));
}

NeighborhoodGrid MakeNeighborhoodGrid(const IntegerList& shape, const IntegerList& window,
                                      const IntegerList& stride, const IntegerList& dilation,
                                      const IntegerList& causal) {
  if (shape.empty() || shape.size() > kMostAxes) {
    Throw(ErrorCode::kInvalidArgument, "neighborhood: shape {} has {} axes, expected 1 to {}",
          fmt::join(shape, "x"), shape.size(), kMostAxes);
  }
  NeighborhoodGrid grid;
  std::int64_t tokens = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const NeighborhoodAxis axis{
        shape[i], OfAxis("window", window, shape, i), OfAxis("stride", stride, shape, i),
        OfAxis("dilation", dilation, shape, i), OfAxis("causal", causal, shape, i) != 0};
    CheckAxis(i, axis);
    if (axis.length > kMostTokens / tokens) {
      Throw(ErrorCode::kInvalidArgument, "neighborhood: shape {} has more than {} tokens",
            fmt::join(shape, "x"), kMostTokens);
    }
    tokens *= axis.length;
    grid.axes.push_back(axis);
  }
  return grid;
}

std::vector<BoxSides> BoxesOfVolume(std::int64_t volume, std::size_t axes) {
  if (axes == 1) return {{volume}};
  std::vector<BoxSides> boxes;
  for (std::int64_t side = 1; side <= volume; side *= 2) {
    for (BoxSides& inner : BoxesOfVolume(volume / side, axes - 1)) {
      inner.insert(inner.begin(), side);
      boxes.push_back(std::move(inner));
    }
  }
  return boxes;
}

}  // namespace foveate
