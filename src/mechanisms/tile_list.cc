#include "mechanisms/tile_list.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "attention/band_pattern.h"
#include "attention/row_ranges.h"
#include "base/checked.h"
#include "base/throw.h"
#include "mechanisms/mechanism.h"

namespace foveate {
namespace {

class TileList final : public Pattern {
 public:
  TileList(TileAxis rows, TileAxis keys, const Params& params)
      : mechanism_(params.mechanism().name), rows_(std::move(rows)), keys_(std::move(keys)) {
    const IntegerList& tiles = params.List("tiles");
    std::map<std::int64_t, Ranges> seen;
    for (std::size_t t = 0; t < tiles.size(); t += 2) {
      seen[tiles[t]].push_back(keys_.Span(tiles[t + 1]));
      last_row_tile_ = std::max(last_row_tile_, tiles[t]);
      last_key_tile_ = std::max(last_key_tile_, tiles[t + 1]);
    }
    for (auto& [row_tile, ranges] : seen) {
      seen_.emplace_back(row_tile, Normalised(std::move(ranges)));
    }
  }

  void Check(const AttentionShape& shape) const override {
    rows_.Check(mechanism_, "queries", shape.queries, last_row_tile_);
    keys_.Check(mechanism_, "keys", shape.keys, last_key_tile_);
  }

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return (Bits(shape, row, key) & 1) != 0;
  }

  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    return BitsOf(SeenBy(rows_.TileOf(row)), first_key) & BitsOf(Range{0, shape.keys}, first_key);
  }

  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    const Range row_tiles{rows_.TileOf(rows.begin), rows_.TileOf(rows.end - 1)};
    const Ranges keys = {{0, shape.keys}};
    Coverage cover;
    cover.all = cover.any = Intersection(SeenBy(row_tiles.begin), keys);
    for (std::int64_t tile = row_tiles.begin + 1; tile <= row_tiles.end; ++tile) {
      const Ranges seen = Intersection(SeenBy(tile), keys);
      cover.all = Intersection(cover.all, seen);
      cover.any = Union(cover.any, seen);
    }
    return cover;
  }

 private:
  const Ranges& SeenBy(std::int64_t row_tile) const {
    static const Ranges kNothing;
    const auto found =
        std::lower_bound(seen_.begin(), seen_.end(), row_tile,
                         [](const auto& entry, std::int64_t tile) { return entry.first < tile; });
    return found != seen_.end() && found->first == row_tile ? found->second : kNothing;
  }

  std::string_view mechanism_;
  TileAxis rows_;
  TileAxis keys_;
  std::vector<std::pair<std::int64_t, Ranges>> seen_;  // by row tile: the keys it sees
  std::int64_t last_row_tile_ = -1;
  std::int64_t last_key_tile_ = -1;
};

}  // namespace

TileAxis TileAxis::AtEdges(const Params& params, std::string_view key) {
  const IntegerList& edges = params.List(key);
  if (edges.size() < 2 || edges.front() != 0) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: {} begins with {} and has {} entries, expected 0 first and "
          "at least 2",
          params.mechanism().name, key, edges.front(), edges.size());
  }
  for (std::size_t i = 1; i < edges.size(); ++i) {
    if (edges[i] <= edges[i - 1]) {
      Throw(ErrorCode::kInvalidArgument, "{}: {}[{}] is {}, not above {} before it",
            params.mechanism().name, key, i, edges[i], edges[i - 1]);
    }
  }
  return {0, edges};
}

std::int64_t TileAxis::TileOf(std::int64_t index) const {
  if (size_ > 0) return index / size_;
  return std::upper_bound(edges_.begin(), edges_.end(), index) - edges_.begin() - 1;
}

Range TileAxis::Span(std::int64_t tile) const {
  if (size_ > 0) return {tile * size_, (tile + 1) * size_};
  if (tile + 1 >= std::ssize(edges_)) return {};  // which Check refuses
  return {edges_[tile], edges_[tile + 1]};
}

void TileAxis::Check(std::string_view mechanism, std::string_view name, std::int64_t length,
                     std::int64_t last_tile) const {
  if (size_ == 0 && edges_.back() != length) {
    Throw(ErrorCode::kInvalidArgument, "{}: the edges of {} end at {}, but the call has {} of them",
          mechanism, name, edges_.back(), length);
  }
  const std::int64_t count = size_ > 0 ? DivideUp(length, size_) : std::ssize(edges_) - 1;
  if (last_tile >= count) {
    Throw(ErrorCode::kInvalidArgument, "{}: tiles names tile {} of the {}, but {} {} make {} tiles",
          mechanism, last_tile, name, length, name, count);
  }
}

PatternPtr MakeTileList(TileAxis rows, TileAxis keys, const Params& params) {
  return std::make_shared<TileList>(std::move(rows), std::move(keys), params);
}

}  // namespace foveate
