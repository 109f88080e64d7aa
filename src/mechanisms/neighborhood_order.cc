#include "mechanisms/neighborhood_order.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

#include "attention/band_pattern.h"
#include "attention/schedule.h"
#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::size_t kMostAxes = 3;

// An order that visits more than this share of all tiles would not repay its gathering.
constexpr double kWorthAnOrder = 0.9;

using PerAxis = std::array<std::int64_t, kMostAxes>;
using Box = std::array<Range, kMostAxes>;  // members of a group, on each axis

// One axis cut into boxes, with what each member sees.
struct TiledAxis {
  NeighborhoodAxis axis;
  std::int64_t side = 1;    // members of a box
  std::int64_t boxes = 1;   // of a group
  std::vector<Range> seen;  // [dilation][boxes * side], for fillers that of the last member

  TiledAxis() = default;
  TiledAxis(const NeighborhoodAxis& of, std::int64_t box_side) : axis(of), side(box_side) {
    boxes = DivideUp(axis.GroupLength(0), side);
    seen.reserve(axis.dilation * boxes * side);
    for (std::int64_t group = 0; group < axis.dilation; ++group) {
      const std::int64_t last = axis.GroupLength(group) - 1;
      for (std::int64_t member = 0; member < boxes * side; ++member) {
        seen.push_back(axis.Seen(group, std::min(member, last)));
      }
    }
  }

  Range Seen(std::int64_t group, std::int64_t member) const {
    return seen[group * boxes * side + member];
  }

  // Pairs of (box, box that some member of it sees).
  std::int64_t Visits() const {
    std::int64_t visits = 0;
    for (std::size_t first = 0; first < seen.size(); first += side) {
      visits += DivideUp(seen[first + side - 1].end, side) - seen[first].begin / side;
    }
    return visits;
  }
};

class TiledNeighborhood final : public Pattern {
 public:
  TiledNeighborhood(const NeighborhoodGrid& grid, const BoxSides& box) {
    for (std::size_t a = 0; a < box.size(); ++a) axes_.emplace_back(grid.axes[a], box[a]);
    // Fewer than three axes become three.
    while (axes_.size() < kMostAxes) axes_.insert(axes_.begin(), TiledAxis(NeighborhoodAxis{}, 1));
    PerAxis sides{}, boxes{}, groups{};
    std::int64_t step = 1;
    for (std::size_t a = kMostAxes; a-- > 0;) {
      sides[a] = axes_[a].side;
      boxes[a] = axes_[a].boxes;
      groups[a] = axes_[a].axis.dilation;
      box_step_[a] = step;
      combs_[a] = 0;
      for (std::int64_t i = 0; i < axes_[a].side; ++i) combs_[a] |= std::uint64_t{1} << (i * step);
      step *= axes_[a].side;
      boxes_ *= axes_[a].boxes;
      groups_ *= axes_[a].axis.dilation;
    }
    volume_ = step;
    for (std::int64_t i = 0; i < volume_; ++i) members_.push_back(Split(i, sides));
    for (std::int64_t i = 0; i < boxes_; ++i) origins_.push_back(Split(i, boxes));
    for (std::int64_t i = 0; i < groups_; ++i) group_at_.push_back(Split(i, groups));
  }

  void Check(const AttentionShape& shape) const override {
    if (shape.keys == places() && shape.queries <= places()) return;
    Throw(ErrorCode::kInvalidArgument,
          "neighborhood in tiles: {} places, but the call has {} queries and {} keys", places(),
          shape.queries, shape.keys);
  }

  std::int64_t places() const { return groups_ * boxes_ * volume_; }

  // -1 for a filler.
  std::int64_t TokenAt(std::int64_t place) const {
    std::int64_t token = 0;
    const Place at = At(place);
    for (std::size_t a = 0; a < kMostAxes; ++a) {
      const NeighborhoodAxis& axis = axes_[a].axis;
      const std::int64_t x = Member(at, a) * axis.dilation + group_at_[at.group][a];
      if (x >= axis.length) return -1;
      token = token * axis.length + x;
    }
    return token;
  }

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return (Bits(shape, row, key) & 1) != 0;
  }

  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    const Place at = At(shape.Position(row));
    const Box seen = SeenBy(at.group, at.box, {at.within, at.within + 1}).all;
    std::uint64_t bits = 0;
    for (std::int64_t box = first_key / volume_; box * volume_ < first_key + 64; ++box) {
      if (box / boxes_ != at.group) continue;
      const std::uint64_t of_box = BitsOfBox(seen, origins_[box % boxes_]);
      const std::int64_t offset = box * volume_ - first_key;
      bits |= offset >= 0 ? of_box << offset : of_box >> -offset;
    }
    return bits & BitsOf({0, shape.keys}, first_key);
  }

  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    Coverage cover;
    const std::int64_t end = shape.Position(rows.end);
    for (std::int64_t place = shape.Position(rows.begin); place < end;) {
      const Place at = At(place);
      const std::int64_t box_end = std::min(place - at.within + volume_, end);
      const SeenBoxes seen = SeenBy(at.group, at.box, {at.within, at.within + box_end - place});
      const Ranges all = BoxesOf(at.group, seen.all, /*whole=*/true);
      cover.all = cover.any.empty() ? all : Intersection(cover.all, all);
      const Ranges any = BoxesOf(at.group, seen.any, /*whole=*/false);
      cover.any.insert(cover.any.end(), any.begin(), any.end());
      place = box_end;
    }
    cover.any = Normalised(std::move(cover.any));
    return cover;
  }

 private:
  struct Place {
    std::int64_t group = 0;
    std::int64_t box = 0;  // of the group
    std::int64_t within = 0;
  };
  Place At(std::int64_t place) const {
    const std::int64_t box = place / volume_;
    const std::int64_t group = groups_ == 1 ? 0 : box / boxes_;
    return {group, box - group * boxes_, place - box * volume_};
  }

  // The coordinates of a row-major index.
  static PerAxis Split(std::int64_t index, const PerAxis& extents) {
    PerAxis parts{};
    for (std::size_t a = kMostAxes; a-- > 0;) {
      parts[a] = index % extents[a];
      index /= extents[a];
    }
    return parts;
  }

  std::int64_t Member(const Place& at, std::size_t a) const {
    return origins_[at.box][a] * axes_[a].side + members_[at.within][a];
  }

  struct SeenBoxes {
    Box all;
    Box any;
  };
  // By the places of a box, which span a part of it.
  SeenBoxes SeenBy(std::int64_t group, std::int64_t box, Range within) const {
    SeenBoxes seen;
    for (std::size_t a = 0; a < kMostAxes; ++a) {
      std::int64_t least = members_[within.begin][a], most = least;
      for (std::int64_t place = within.begin + 1; place < within.end; ++place) {
        least = std::min(least, members_[place][a]);
        most = std::max(most, members_[place][a]);
      }
      const std::int64_t first = origins_[box][a] * axes_[a].side;
      const Range of_first = axes_[a].Seen(group_at_[group][a], first + least);
      const Range of_last = axes_[a].Seen(group_at_[group][a], first + most);
      const bool fillers = first + most >= axes_[a].axis.GroupLength(group_at_[group][a]);
      seen.all[a] = fillers ? Range{} : Range{of_last.begin, of_first.end};
      seen.any[a] = {of_first.begin, of_last.end};
    }
    return seen;
  }

  // The places of a box at `origin` within `seen`: from the innermost axis outwards, the bits so
  // far are repeated at a comb's teeth.
  std::uint64_t BitsOfBox(const Box& seen, const PerAxis& origin) const {
    std::uint64_t bits = 1;
    for (std::size_t a = kMostAxes; a-- > 0;) {
      const std::int64_t side = axes_[a].side;
      const std::int64_t begin = std::max<std::int64_t>(seen[a].begin - origin[a] * side, 0);
      const std::int64_t end = std::min(seen[a].end - origin[a] * side, side);
      bits *= combs_[a] & BitsOf({begin * box_step_[a], end * box_step_[a]}, 0);
    }
    return bits;
  }

  // Places of a group's boxes that lie within a range of members, as a whole or in part.
  Ranges BoxesOf(std::int64_t group, const Box& members, bool whole) const {
    Box boxes;
    for (std::size_t a = 0; a < kMostAxes; ++a) {
      const std::int64_t side = axes_[a].side;
      boxes[a] = whole ? Range{DivideUp(members[a].begin, side), members[a].end / side}
                       : Range{members[a].begin / side, DivideUp(members[a].end, side)};
      if (boxes[a].empty()) return {};
    }
    Ranges places;
    for (std::int64_t i = boxes[0].begin; i < boxes[0].end; ++i) {
      for (std::int64_t j = boxes[1].begin; j < boxes[1].end; ++j) {
        const std::int64_t line = group * boxes_ + (i * axes_[1].boxes + j) * axes_[2].boxes;
        const Range run{(line + boxes[2].begin) * volume_, (line + boxes[2].end) * volume_};
        if (!places.empty() && places.back().end == run.begin) {
          places.back().end = run.end;
        } else {
          places.push_back(run);
        }
      }
    }
    return places;
  }

  std::vector<TiledAxis> axes_;
  std::int64_t groups_ = 1;
  std::int64_t boxes_ = 1;                        // of a group
  std::int64_t volume_ = 1;                       // places of a box
  std::vector<PerAxis> group_at_;                 // [groups]
  std::vector<PerAxis> origins_;                  // [boxes], in boxes
  std::vector<PerAxis> members_;                  // [volume]
  PerAxis box_step_{};                            // places from one member of a box to the next
  std::array<std::uint64_t, kMostAxes> combs_{};  // a bit for each of them
};

// Axes that are attended as a whole are one, if they are neighbours.
NeighborhoodGrid Merged(const NeighborhoodGrid& grid) {
  NeighborhoodGrid merged;
  for (const NeighborhoodAxis& axis : grid.axes) {
    if (!merged.axes.empty() && merged.axes.back().full() && axis.full()) {
      const std::int64_t length = merged.axes.back().length * axis.length;
      merged.axes.back() = {.length = length, .window = length};
    } else {
      merged.axes.push_back(axis);
    }
  }
  return merged;
}

std::int64_t Volume(const BoxSides& box) {
  return std::accumulate(box.begin(), box.end(), std::int64_t{1}, std::multiplies<>());
}

// All boxes of 64 tokens whose sides are powers of two; or a whole group where that is smaller.
std::vector<BoxSides> Boxes(const NeighborhoodGrid& grid) {
  BoxSides group;
  for (const NeighborhoodAxis& axis : grid.axes) {
    group.push_back(std::min(axis.GroupLength(0), kTileKeys + 1));
  }
  if (Volume(group) <= kTileKeys) return {group};
  return BoxesOfVolume(kTileKeys, group.size());
}

// Pairs of boxes of which one sees the other.
double Visits(const NeighborhoodGrid& grid, const BoxSides& box) {
  double visits = 1;
  for (std::size_t a = 0; a < box.size(); ++a) {
    visits *= static_cast<double>(TiledAxis(grid.axes[a], box[a]).Visits());
  }
  return visits;
}

}  // namespace

std::shared_ptr<const TokenOrder> TiledOrder(const NeighborhoodGrid& original) {
  const NeighborhoodGrid grid = Merged(original);
  if (grid.axes.size() == 1 && grid.axes.front().dilation == 1) return nullptr;
  const auto tiles = static_cast<double>(DivideUp(grid.tokens(), kTileKeys));
  double fewest = kWorthAnOrder * tiles * tiles;
  BoxSides best;
  for (const BoxSides& box : Boxes(grid)) {
    const double visits = Visits(grid, box);
    if (visits >= fewest) continue;
    fewest = visits;
    best = box;
  }
  return best.empty() ? nullptr : MakeTiledOrder(grid, best);
}

std::shared_ptr<const TokenOrder> MakeTiledOrder(const NeighborhoodGrid& grid,
                                                 const BoxSides& box) {
  auto pattern = std::make_shared<const TiledNeighborhood>(grid, box);
  auto order = std::make_shared<TokenOrder>();
  order->tokens.resize(pattern->places());
  for (std::int64_t place = 0; place < pattern->places(); ++place) {
    order->tokens[place] = pattern->TokenAt(place);
  }
  order->pattern = std::move(pattern);
  return order;
}

}  // namespace foveate
