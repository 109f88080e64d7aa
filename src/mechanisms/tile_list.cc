#include "mechanisms/tile_list.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

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
    std::map<std::int64_t, Ranges> seen;  // by row tile
    for (std::size_t t = 0; t < tiles.size(); t += 2) {
      seen[tiles[t]].push_back(keys_.Span(tiles[t + 1]));
      last_row_tile_ = std::max(last_row_tile_, tiles[t]);
      last_key_tile_ = std::max(last_key_tile_, tiles[t + 1]);
    }
    std::vector<RowBlockKeys> blocks;
    for (auto& [row_tile, ranges] : seen) {
      const Range span = rows_.Span(row_tile);
      if (span.empty()) continue;  // which Check refuses
      const std::int64_t end = blocks.empty() ? 0 : blocks.back().end;
      if (span.begin > end) blocks.push_back({span.begin, {}});  // rows that see nothing
      blocks.push_back({span.end, Normalised(std::move(ranges))});
    }
    seen_ = MakeRowRanges(std::move(blocks));
  }

  void Check(const AttentionShape& shape) const override {
    rows_.Check(mechanism_, "queries", shape.queries, last_row_tile_);
    keys_.Check(mechanism_, "keys", shape.keys, last_key_tile_);
  }
  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return seen_->Attends(shape, row, key);
  }
  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    return seen_->Bits(shape, row, first_key);
  }
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    return seen_->Cover(shape, rows);
  }

 private:
  std::string_view mechanism_;
  TileAxis rows_;
  TileAxis keys_;
  PatternPtr seen_;
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
