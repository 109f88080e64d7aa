#include "mechanisms/neighborhood_windows.h"

#include <algorithm>
#include <limits>

#include "attention/attention_call.h"
#include "base/checked.h"
#include "base/throw.h"
#include "kernels/attention_kernels.h"
#include "kernels/tile_products.h"
#include "mechanisms/neighborhood_order.h"

namespace foveate {
namespace {

constexpr std::int64_t kTile = kTileKeys * kTileKeys;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// 64 tokens as near to a cube as they can be.
BoxSides CubeOf(std::size_t axes) {
  return axes == 1 ? BoxSides{64} : axes == 2 ? BoxSides{8, 8} : BoxSides{4, 4, 4};
}

}  // namespace

NeighborhoodWindows::NeighborhoodWindows(const NeighborhoodGrid& grid)
    : grid_(grid), tokens_(grid.tokens()), order_(MakeTiledOrder(grid, CubeOf(grid.axes.size()))) {
  const std::size_t missing = kAxes - grid.axes.size();
  for (std::size_t a = 0; a < kAxes; ++a) {
    if (a >= missing) axes_[a].axis = grid.axes[a - missing];
    const NeighborhoodAxis& axis = axes_[a].axis;
    if (axis.stride != 1) {
      Throw(ErrorCode::kInvalidArgument,
            "neighborhood: axis {}: stride {} with stored weights, expected 1 (the fused operator "
            "has strides)",
            a - missing, axis.stride);
    }
    for (std::int64_t x = 0; x < axis.length; ++x) {
      const Range seen = axis.Seen(x % axis.dilation, x / axis.dilation);
      axes_[a].reach.push_back({x % axis.dilation + seen.begin * axis.dilation, seen.size(),
                                seen.begin - x / axis.dilation + axis.window - 1});
    }
  }
  place_of_.resize(tokens_);
  for (std::size_t place = 0; place < order_->tokens.size(); ++place) {
    const std::int64_t token = order_->tokens[place];
    if (token >= 0) place_of_[token] = static_cast<std::int64_t>(place);
  }
  const std::int64_t places = std::ssize(order_->tokens);
  schedule_ = Schedule(order_->pattern, {places, places});
}

std::int64_t NeighborhoodWindows::size() const {
  std::int64_t size = 1;
  for (const Axis& axis : axes_) size *= axis.axis.window;
  return size;
}

std::int64_t NeighborhoodWindows::bias_entries() const {
  std::int64_t entries = 1;
  for (const Axis& axis : axes_) entries *= 2 * axis.axis.window - 1;
  return entries;
}

bool NeighborhoodWindows::causal() const {
  return std::any_of(axes_.begin(), axes_.end(), [](const Axis& a) { return a.axis.causal; });
}

template <typename Visit>
void NeighborhoodWindows::ForEachRun(std::int64_t token, const Visit& visit) const {
  const auto& [outer, middle, inner] = axes_;
  const std::int64_t line = token / inner.axis.length;
  const Reach& i_reach = outer.reach[line / middle.axis.length];
  const Reach& j_reach = middle.reach[line % middle.axis.length];
  const Reach& k_reach = inner.reach[token % inner.axis.length];
  for (std::int64_t i = 0; i < i_reach.count; ++i) {
    for (std::int64_t j = 0; j < j_reach.count; ++j) {
      const std::int64_t of_line = (i_reach.first + i * outer.axis.dilation) * middle.axis.length +
                                   j_reach.first + j * middle.axis.dilation;
      const std::int64_t bias_line =
          (i_reach.bias + i) * (2 * middle.axis.window - 1) + j_reach.bias + j;
      visit(Run{(i * middle.axis.window + j) * inner.axis.window,
                of_line * inner.axis.length + k_reach.first, k_reach.count,
                bias_line * (2 * inner.axis.window - 1) + k_reach.bias});
    }
  }
}

// What a thread does for a head of keys: packed pages, and the tiles of one tile of rows.
class NeighborhoodWindows::HeadWork {
 public:
  // For rows of at most `dim` numbers.
  HeadWork(const NeighborhoodWindows& windows, Isa isa, std::int64_t dim)
      : windows_(windows),
        order_(*windows.order_),
        kernels_(AttentionKernelsFor(isa)),
        products_(TileProductsFor(isa)),
        pages_(DivideUp<std::int64_t>(std::ssize(order_.tokens), kTileKeys)),
        slot_of_(pages_),
        products_of_(MostTiles(windows.schedule_) * kTile),
        packed_pages_(pages_ * kTileKeys * RoundUp(dim, kPanel)),
        row_(dim),
        packed_rows_(RoundUp(kTileKeys, kRowStep) * RoundUp(dim, kPanel)),
        gathered_(kTileKeys * dim) {}

  void Scores(const TensorRef<4>& query, const TensorRef<4>& key, double scale,
              const View<float, 4>& weights, std::int64_t kv_index) {
    const std::int64_t dim = key.shape[3];
    for (std::int64_t page = 0; page < pages_; ++page) {
      kernels_.pack_keys(Gather(key, kv_index, page),
                         packed_pages_.data() + page * kTileKeys * dim);
    }
    ForEachTileOfRows(query, key, kv_index, [&](std::int64_t head, const ScheduleItem& item) {
      PackRows(query, head, item.rows, scale);
      for (std::int64_t i = 0; i < std::ssize(tiles_); ++i) {
        products_.scores(item.rows.size(), dim, packed_rows_.data(),
                         packed_pages_.data() + tiles_[i] * kTileKeys * dim,
                         products_of_.data() + i * kTile);
      }
      ForEachToken(item, [&](std::int64_t token, std::int64_t row) {
        float* to = WeightsOf(weights, head, token);
        if (windows_.causal()) std::fill_n(to, windows_.size(), -kInfinity);
        windows_.ForEachRun(token, [&](const Run& run) {
          ForEachProduct(run, row, [&](std::int64_t t, float& product) { to[t] = product; });
        });
      });
    });
  }

  void Mix(const View<const float, 4>& weights, const TensorRef<4>& value, double scale,
           const MutableTensorRef<4>& out, std::int64_t kv_index) {
    const std::int64_t width = RoundUp(value.shape[3], kPanel);
    for (std::int64_t page = 0; page < pages_; ++page) {
      kernels_.pack_values(Gather(value, kv_index, page), kTileKeys * kPanel,
                           packed_pages_.data() + page * kTileKeys * width);
    }
    ForEachTileOfRows(out, value, kv_index, [&](std::int64_t head, const ScheduleItem& item) {
      FillTiles(weights, head, item);
      std::fill_n(packed_rows_.data(), item.rows.size() * width, 0.0f);
      for (std::int64_t i = 0; i < std::ssize(tiles_); ++i) {
        products_.add_rows(item.rows.size(), products_of_.data() + i * kTile,
                           packed_pages_.data() + tiles_[i] * kTileKeys * width, width,
                           packed_rows_.data());
      }
      ForEachToken(item, [&](std::int64_t token, std::int64_t row) {
        Store(packed_rows_.data() + row * width, scale, out, head, token);
      });
    });
  }

  void Spread(const View<const float, 4>& weights, const TensorRef<4>& rows, double scale,
              const MutableTensorRef<4>& out, std::int64_t kv_index) {
    const std::int64_t width = RoundUp(rows.shape[3], kPanel);
    std::fill_n(packed_pages_.data(), pages_ * kTileKeys * width, 0.0f);
    ForEachTileOfRows(rows, out, kv_index, [&](std::int64_t head, const ScheduleItem& item) {
      FillTiles(weights, head, item);
      kernels_.pack_values(Gather(rows, head, item.rows.begin / kTileKeys), kTileKeys * kPanel,
                           packed_rows_.data());
      for (std::int64_t i = 0; i < std::ssize(tiles_); ++i) {
        products_.add_keys(item.rows.size(), products_of_.data() + i * kTile, packed_rows_.data(),
                           width, packed_pages_.data() + tiles_[i] * kTileKeys * width);
      }
    });
    for (std::int64_t place = 0; place < std::ssize(order_.tokens); ++place) {
      if (order_.tokens[place] < 0) continue;
      Store(packed_pages_.data() + place * width, scale, out, kv_index, order_.tokens[place]);
    }
  }

 private:
  static std::int64_t MostTiles(const Schedule& schedule) {
    std::int64_t most = 0;
    for (const ScheduleItem& item : schedule.items()) most = std::max(most, item.tiles);
    return most;
  }

  TensorRef<2> Gather(const TensorRef<4>& tensor, std::int64_t head, std::int64_t page) {
    return GatherPage(tensor, order_, head, page, reinterpret_cast<std::byte*>(gathered_.data()));
  }

  // Of the query heads that read a head of keys; heads are counted over batches.
  template <typename Rows, typename Keys, typename Visit>
  void ForEachTileOfRows(const Rows& rows, const Keys& keys, std::int64_t kv_index,
                         const Visit& visit) {
    const std::int64_t group = rows.shape[1] / keys.shape[1];
    for (std::int64_t head = kv_index * group; head < (kv_index + 1) * group; ++head) {
      for (const ScheduleItem& item : windows_.schedule_.items()) {
        tiles_.clear();
        for (const TileRun& run : windows_.schedule_.runs(item)) {
          for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
            slot_of_[tile] = std::ssize(tiles_);
            tiles_.push_back(tile);
          }
        }
        visit(head, item);
      }
    }
  }

  template <typename Visit>
  void ForEachToken(const ScheduleItem& item, const Visit& visit) const {
    for (std::int64_t row = 0; row < item.rows.size(); ++row) {
      const std::int64_t token = order_.tokens[item.rows.begin + row];
      if (token >= 0) visit(token, row);
    }
  }

  // Where the tiles have what a row gives to the keys of a run.
  template <typename Visit>
  void ForEachProduct(const Run& run, std::int64_t row, const Visit& visit) {
    const std::int64_t* place = windows_.place_of_.data() + run.token;
    float* of_row = products_of_.data() + row * kTileKeys;
    for (std::int64_t i = 0; i < run.count; ++i, place += windows_.step()) {
      visit(run.entry + i, of_row[slot_of_[*place / kTileKeys] * kTile + *place % kTileKeys]);
    }
  }

  template <typename T>
  static T* WeightsOf(const View<T, 4>& weights, std::int64_t head, std::int64_t token) {
    const std::int64_t heads = weights.shape[1];
    return &weights(head / heads, head % heads, token, 0);
  }

  void FillTiles(const View<const float, 4>& weights, std::int64_t head, const ScheduleItem& item) {
    std::fill_n(products_of_.data(), std::ssize(tiles_) * kTile, 0.0f);
    ForEachToken(item, [&](std::int64_t token, std::int64_t row) {
      const float* from = WeightsOf(weights, head, token);
      windows_.ForEachRun(token, [&](const Run& run) {
        ForEachProduct(run, row, [&](std::int64_t t, float& product) { product = from[t]; });
      });
    });
  }

  void PackRows(const TensorRef<4>& query, std::int64_t head, Range rows, double scale) {
    const std::int64_t heads = query.shape[1], dim = query.shape[3];
    for (std::int64_t row = 0; row < rows.size(); ++row) {
      const std::int64_t token = order_.tokens[rows.begin + row];
      std::fill_n(row_.data(), dim, 0.0f);
      if (token >= 0) {
        kernels_.widen(query.At(head / heads, head % heads, token), query.type, query.strides[3],
                       dim, row_.data());
      }
      kernels_.pack_query(row, dim, row_.data(), scale, packed_rows_.data());
    }
  }

  static void Store(float* row, double scale, const MutableTensorRef<4>& out, std::int64_t head,
                    std::int64_t token) {
    const std::int64_t heads = out.shape[1], dim = out.shape[3];
    for (std::int64_t d = 0; d < dim; ++d) row[d] = static_cast<float>(row[d] * scale);
    StoreRow(row, dim, out.At(head / heads, head % heads, token), out.type, out.strides[3]);
  }

  const NeighborhoodWindows& windows_;
  const TokenOrder& order_;
  const AttentionKernels& kernels_;
  const TileProducts& products_;
  std::int64_t pages_;
  std::vector<std::int64_t> slot_of_;  // [pages]: index in tiles_
  std::vector<std::int64_t> tiles_;    // of keys, of the tile of rows at hand
  Buffer<float> products_of_;          // [tiles_][64][64]
  Buffer<float> packed_pages_;         // [pages][64][width]: keys packed, or sums for them
  Buffer<float> row_;
  Buffer<float> packed_rows_;  // [64][width]: rows packed, or sums for them
  Buffer<float> gathered_;     // a page in the order of places
};

template <typename Work>
void NeighborhoodWindows::ForEachHead(Context& context, std::int64_t heads, std::int64_t dim,
                                      const Work& work) const {
  std::vector<HeadWork> of_worker;
  for (int i = 0; i < context.pool().size(); ++i) {
    of_worker.emplace_back(*this, context.isa(), dim);
  }
  context.pool().ForEach(heads,
                         [&](std::int64_t head, int worker) { work(of_worker[worker], head); });
}

void NeighborhoodWindows::Scores(Context& context, const TensorRef<4>& query,
                                 const TensorRef<4>& key, double scale,
                                 View<float, 4> weights) const {
  ForEachHead(
      context, key.shape[0] * key.shape[1], key.shape[3],
      [&](HeadWork& work, std::int64_t head) { work.Scores(query, key, scale, weights, head); });
}

void NeighborhoodWindows::Mix(Context& context, const View<const float, 4>& weights,
                              const TensorRef<4>& value, double scale,
                              const MutableTensorRef<4>& out) const {
  ForEachHead(
      context, value.shape[0] * value.shape[1], value.shape[3],
      [&](HeadWork& work, std::int64_t head) { work.Mix(weights, value, scale, out, head); });
}

void NeighborhoodWindows::Spread(Context& context, const View<const float, 4>& weights,
                                 const TensorRef<4>& rows, double scale,
                                 const MutableTensorRef<4>& out) const {
  ForEachHead(
      context, out.shape[0] * out.shape[1], out.shape[3],
      [&](HeadWork& work, std::int64_t head) { work.Spread(weights, rows, scale, out, head); });
}

void NeighborhoodWindows::AddBias(Context& context, const View<const float, 2>& bias,
                                  View<float, 4> weights) const {
  const std::int64_t batches = weights.shape[0], heads = weights.shape[1];
  context.pool().ForEach(batches * heads, [&](std::int64_t index, int) {
    const std::int64_t head = index % heads;
    for (std::int64_t token = 0; token < tokens_; ++token) {
      float* to = &weights(index / heads, head, token, 0);
      ForEachRun(token, [&](const Run& run) {
        for (std::int64_t i = 0; i < run.count; ++i) to[run.entry + i] += bias(head, run.bias + i);
      });
    }
  });
}

void NeighborhoodWindows::SumByBias(Context& context, const View<const float, 4>& weights,
                                    View<float, 2> sums) const {
  const std::int64_t batches = weights.shape[0];
  context.pool().ForEach(weights.shape[1], [&](std::int64_t head, int) {
    for (std::int64_t i = 0; i < bias_entries(); ++i) sums(head, i) = 0;
    for (std::int64_t batch = 0; batch < batches; ++batch) {
      for (std::int64_t token = 0; token < tokens_; ++token) {
        const float* from = &weights(batch, head, token, 0);
        ForEachRun(token, [&](const Run& run) {
          for (std::int64_t i = 0; i < run.count; ++i) {
            sums(head, run.bias + i) += from[run.entry + i];
          }
        });
      }
    }
  });
}

}  // namespace foveate
