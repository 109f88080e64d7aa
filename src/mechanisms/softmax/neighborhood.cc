// Neighborhood attention: tokens on a grid see the tokens near them on every axis. Hassani et al.
// 2025, "Generalized Neighborhood Attention", arXiv 2504.16922.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "attention/band_pattern.h"
#include "base/throw.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/neighborhood_grid.h"
#include "mechanisms/neighborhood_order.h"

namespace foveate::mechanisms {
namespace {

class Neighborhood final : public Pattern {
 public:
  explicit Neighborhood(NeighborhoodGrid grid)
      : grid_(std::move(grid)), last_(grid_.axes.back()), slab_(grid_.slab()) {}

  // All keys, or with time on a causal axis 0 those of whole slabs up to now.
  void Check(const AttentionShape& shape) const override {
    const std::int64_t tokens = grid_.tokens();
    const bool grows = grid_.axes.front().causal && shape.keys <= tokens;
    if (shape.keys != tokens && !(grows && shape.keys % slab_ == 0)) {
      Throw(ErrorCode::kInvalidArgument,
            "neighborhood: shape {} makes {} tokens, but the call has {} keys{}", grid_.ShapeText(),
            tokens, shape.keys,
            grows ? fmt::format(", which are no whole slabs of {}", slab_) : "");
    }
    if (shape.queries > shape.keys) {
      Throw(ErrorCode::kInvalidArgument,
            "neighborhood: {} queries of a grid with {} keys, expected no more queries than keys",
            shape.queries, shape.keys);
    }
  }

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    const std::int64_t position = shape.Position(row);
    return SeesLine(position / last_.length, key / last_.length) &&
           Sees(last_, position % last_.length, key % last_.length);
  }

  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    const std::int64_t position = shape.Position(row);
    const std::int64_t row_line = position / last_.length;
    const Range seen = last_.SeenFrom(position % last_.length);
    const std::int64_t end = std::min(first_key + 64, shape.keys);
    std::uint64_t bits = 0;
    for (std::int64_t line = first_key / last_.length; line * last_.length < end; ++line) {
      if (!SeesLine(row_line, line)) continue;
      const std::int64_t begin = line * last_.length;
      bits |= Stepped({begin + seen.begin, begin + seen.end}, first_key);
    }
    return bits & BitsOf({0, shape.keys}, first_key);
  }

  // Line by line of the last axis: what the rows on it see is the same lines of keys, and of each
  // a range.
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    Coverage cover;
    const std::int64_t end = shape.Position(rows.end);
    for (std::int64_t begin = shape.Position(rows.begin); begin < end;) {
      const std::int64_t line = begin / last_.length;
      const std::int64_t line_end = std::min((line + 1) * last_.length, end);
      const Coverage part =
          CoverOfLine(line, {begin % last_.length, line_end - line * last_.length});
      const bool first = cover.any.empty();
      cover.all = first ? part.all : Intersection(cover.all, part.all);
      cover.any.insert(cover.any.end(), part.any.begin(), part.any.end());
      begin = line_end;
    }
    cover.any = Normalised(std::move(cover.any));
    return cover;
  }

  std::optional<KeptKeys> Kept() const override {
    const NeighborhoodAxis& time = grid_.axes.front();
    if (!time.causal) return std::nullopt;
    return KeptKeys{0, ((time.window - 1) * time.dilation + 1) * slab_ - 1};
  }

  std::shared_ptr<const TokenOrder> Order(const AttentionShape& shape) const override {
    const bool whole = shape.queries == shape.keys && shape.keys == grid_.tokens();
    return whole ? TiledOrder(grid_) : nullptr;
  }

 private:
  static bool Sees(const NeighborhoodAxis& axis, std::int64_t x, std::int64_t y) {
    const Range seen = axis.SeenFrom(x);
    return seen.begin <= y && y < seen.end && (x - y) % axis.dilation == 0;
  }

  // Of all axes but the last; lines of tokens are counted in row-major order.
  bool SeesLine(std::int64_t row_line, std::int64_t key_line) const {
    for (std::size_t a = grid_.axes.size() - 1; a-- > 0;) {
      const NeighborhoodAxis& axis = grid_.axes[a];
      if (!Sees(axis, row_line % axis.length, key_line % axis.length)) return false;
      row_line /= axis.length;
      key_line /= axis.length;
    }
    return row_line == key_line;  // 0, unless keys beyond the grid are asked for
  }

  std::uint64_t Stepped(Range keys, std::int64_t first_key) const {
    if (last_.dilation == 1) return BitsOf(keys, first_key);
    std::uint64_t bits = 0;
    for (std::int64_t key = keys.begin; key < keys.end; key += last_.dilation) {
      if (first_key <= key && key < first_key + 64) bits |= std::uint64_t{1} << (key - first_key);
    }
    return bits;
  }

  // Rows of a line with coordinates xs on the last axis.
  Coverage CoverOfLine(std::int64_t line, Range xs) const {
    Range any = last_.SeenFrom(xs.begin);
    Range all = any;
    for (std::int64_t x = xs.begin + 1; x < xs.end; ++x) {
      const Range seen = last_.SeenFrom(x);
      any = {std::min(any.begin, seen.begin), std::max(any.end, seen.end)};
      all = Intersect(all, seen);
    }
    if (last_.dilation > 1) all = {};
    Coverage cover;
    for (const std::int64_t key_line : LinesSeenFrom(line)) {
      const std::int64_t begin = key_line * last_.length;
      if (!all.empty()) cover.all.push_back({begin + all.begin, begin + all.end});
      cover.any.push_back({begin + any.begin, begin + any.end});
    }
    return {Normalised(std::move(cover.all)), Normalised(std::move(cover.any))};
  }

  std::vector<std::int64_t> LinesSeenFrom(std::int64_t line) const {
    std::vector<std::int64_t> lines = {0};
    std::array<std::int64_t, 3> at{};
    for (std::size_t a = grid_.axes.size() - 1; a-- > 0;) {
      at[a] = line % grid_.axes[a].length;
      line /= grid_.axes[a].length;
    }
    for (std::size_t a = 0; a + 1 < grid_.axes.size(); ++a) {
      const NeighborhoodAxis& axis = grid_.axes[a];
      const Range seen = axis.SeenFrom(at[a]);
      std::vector<std::int64_t> longer;
      for (const std::int64_t outer : lines) {
        for (std::int64_t y = seen.begin; y < seen.end; y += axis.dilation) {
          longer.push_back(outer * axis.length + y);
        }
      }
      lines = std::move(longer);
    }
    return lines;
  }

  NeighborhoodGrid grid_;
  NeighborhoodAxis last_;
  std::int64_t slab_;
};

}  // namespace

Mechanism neighborhood() {
  return {
      .name = "neighborhood",
      .synonyms = {"gna", "na"},
      .title = "Neighborhood attention in 1, 2 and 3 dimensions",
      .paper = "Hassani et al. 2025, arXiv 2504.16922",
      .formula = "j lies in the window of i on every axis of the grid",
      .cost = "N times the product of the windows",
      .use = "images and video: tokens on a grid; `foveate plan neighborhood` finds good strides",
      .params = {{.key = "shape",
                  .type = ParamType::kAxes,
                  .help = "grid of the tokens, 1 to 3 axes in row-major order",
                  .least = 1},
                 {.key = "window",
                  .type = ParamType::kAxes,
                  .help = "tokens seen along each axis, the own among them",
                  .least = 1},
                 {.key = "stride",
                  .type = ParamType::kAxes,
                  .help = "tokens that share one window; at most window",
                  .fallback = "1",
                  .least = 1},
                 {.key = "dilation",
                  .type = ParamType::kAxes,
                  .help = "distance of the tokens seen; times window at most shape",
                  .fallback = "1",
                  .least = 1},
                 {.key = "causal",
                  .type = ParamType::kAxes,
                  .help = "whether later tokens of the axis are hidden",
                  .fallback = "0",
                  .least = 0,
                  .most = 1}},
      .examples = {{"neighborhood:shape=6x8,window=3x4", 48, 48},
                   {"neighborhood:shape=10x6,window=6x2,stride=5x2,dilation=1x3,causal=0x1", 60,
                    60},
                   {"neighborhood:shape=5x6x7,window=3x4x3,stride=1x2x3,dilation=1x1x2", 40, 210},
                   {"neighborhood:shape=40,window=9,stride=4,causal=1", 7, 30}},
      .pattern = [](const Params& params) -> PatternPtr {
        return std::make_shared<Neighborhood>(MakeNeighborhoodGrid(params));
      }};
}

}  // namespace foveate::mechanisms
