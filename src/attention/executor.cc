#include "attention/executor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "base/checked.h"

namespace foveate {
namespace {

// Rows of an item: enough that fetching a tile hardly counts, few enough that queries and output
// stay in L2.
constexpr std::int64_t kMostRows = 256;

// Work items per thread below which row tiles are made smaller, so that threads end together.
constexpr std::int64_t kItemsPerThread = 4;

// With no more rows than this, keys are split between threads where there are few items.
constexpr std::int64_t kSplitRows = 16;

struct Item {
  std::int64_t group = 0;
  std::int64_t item = 0;  // of its schedule
};

struct KeyStep {
  std::array<std::int64_t, kPiecePages> tiles{};
  std::array<bool, kPiecePages> partial{};
  int count = 0;
};

// Walks the tiles of an item in steps: those that lie within one aligned group of `step_tiles`.
template <typename Visit>
void ForEachStep(std::span<const TileRun> runs, std::int64_t step_tiles, const Visit& visit) {
  KeyStep step;
  for (const TileRun& run : runs) {
    for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
      if (step.count > 0 && tile / step_tiles != step.tiles[0] / step_tiles) {
        visit(step);
        step.count = 0;
      }
      step.tiles[step.count] = tile;
      step.partial[step.count++] = run.partial;
    }
  }
  if (step.count > 0) visit(step);
}

class Run {
 public:
  Run(Context& context, const AttentionCall& call, AttentionScratch& scratch)
      : context_(context),
        call_(call),
        scratch_(scratch),
        kernels_(AttentionKernelsFor(context.isa())),
        layout_(call.data.layout()),
        width_(layout_.value_width()),
        step_tiles_(StepTiles(layout_)) {
    for (std::size_t g = 0; g < call.groups.size(); ++g) {
      const HeadGroup& group = call.groups[g];
      for (const std::int64_t item : group.schedule->order()) {
        items_.push_back({static_cast<std::int64_t>(g), item});
        const Range rows = group.schedule->items()[item].rows;
        most_rows_ = std::max(most_rows_, rows.size() * group.heads);
      }
    }
  }

  void All() {
    const int threads = context_.pool().size();
    if (threads > 1 && most_rows_ <= kSplitRows &&
        static_cast<std::int64_t>(items_.size()) < kItemsPerThread * threads) {
      return Split();
    }
    float* memory = scratch_.Reserve(threads * (WorkerSize() + StateSize()));
    context_.pool().ForEach(static_cast<std::int64_t>(items_.size()), [&](std::int64_t i, int w) {
      float* worker = memory + w * (WorkerSize() + StateSize());
      const SoftmaxState state = EmptyState(worker + WorkerSize());
      const AttentionRows rows = Gather(items_[i], worker);
      const HeadGroup& group = call_.groups[items_[i].group];
      ForEachStep(group.schedule->runs(ItemOf(items_[i])), step_tiles_,
                  [&](const KeyStep& step) { Attend(items_[i], step, rows, worker, state); });
      Finish(items_[i], state);
    });
  }

 private:
  struct Part {
    std::int64_t item = 0;  // of items_
    KeyStep step;
  };

  const ScheduleItem& ItemOf(const Item& item) const {
    return call_.groups[item.group].schedule->items()[item.item];
  }

  // Floats of: packed queries; room to fetch a step's tiles; their bits; the kernel's own memory.
  std::int64_t QuerySize() const { return PackedQueries(layout_, most_rows_); }
  std::int64_t TileSize() const { return layout_.packed_keys() + layout_.packed_values(); }
  std::int64_t BitsSize() const { return 2 * kPiecePages * 64; }
  std::int64_t WorkerSize() const {
    return RoundUp(QuerySize() + step_tiles_ * TileSize() + BitsSize() + StepScratch(layout_),
                   kPanel);
  }
  std::int64_t StateSize() const {
    return 3 * RoundUp(most_rows_, kPanel) + 2 * most_rows_ * width_;
  }

  SoftmaxState StateAt(float* memory) const {
    const std::int64_t padded = RoundUp(most_rows_, kPanel);
    float* o = memory + 3 * padded;
    return {.o = o,
            .m = memory,
            .d = memory + padded,
            .o_rest = o + most_rows_ * width_,
            .d_rest = memory + 2 * padded};
  }
  SoftmaxState EmptyState(float* memory) const {
    const std::int64_t padded = RoundUp(most_rows_, kPanel);
    std::fill_n(memory, padded, -std::numeric_limits<float>::infinity());
    std::fill_n(memory + padded, StateSize() - padded, 0.0f);
    return StateAt(memory);
  }

  // Packs the queries of an item at the beginning of the worker's memory.
  AttentionRows Gather(const Item& at, float* memory) const {
    const HeadGroup& group = call_.groups[at.group];
    const Range tokens = ItemOf(at).rows;
    AttentionRows rows{
        .queries = memory,
        .count = tokens.size() * group.heads,
        .group = group.heads,
        .first_position = group.schedule->shape().Position(tokens.begin),
        .ops = ScoreOpsOf(call_.options, group.batch, group.first_head, tokens.begin)};
    double scale = rows.ops.any() ? call_.scale : call_.scale * kLog2E;
    if (layout_.pairs) rows.scale = static_cast<float>(std::exchange(scale, 1.0));
    std::array<float, kMaxHeadDim> query;
    for (std::int64_t row = 0; row < rows.count; ++row) {
      call_.data.Query(group.batch, group.first_head + row % group.heads,
                       tokens.begin + row / group.heads, query.data());
      kernels_.pack_row(layout_, row, query.data(), scale, memory);
    }
    return rows;
  }

  void Attend(const Item& at, const KeyStep& keys, const AttentionRows& rows, float* memory,
              const SoftmaxState& state) const {
    const HeadGroup& group = call_.groups[at.group];
    const Schedule& schedule = *group.schedule;
    const Range tokens = ItemOf(at).rows;
    float* tiles = memory + QuerySize();
    auto* bits = reinterpret_cast<std::uint64_t*>(tiles + step_tiles_ * TileSize());
    AttentionStep step{.count = keys.count};
    for (int i = 0; i < keys.count; ++i) {
      KeyTile& tile = step.tiles[i];
      tile = call_.data.Tile(group, keys.tiles[i], tiles + i * TileSize());
      tile.first_key = keys.tiles[i] * kPageKeys;
      if (!keys.partial[i]) continue;
      std::uint64_t* tile_bits = bits + i * 64;
      for (std::int64_t row = tokens.begin; row < tokens.end; ++row) {
        tile_bits[row - tokens.begin] =
            schedule.pattern().Bits(schedule.shape(), row, tile.first_key);
      }
      tile.bits = tile_bits;
    }
    kernels_.attend(layout_, rows, step, reinterpret_cast<float*>(bits) + BitsSize(), state);
  }

  // Few rows: steps side by side, each into a state of its own, then merged in order as All does
  // one after the other.
  void Split() {
    std::vector<Part> parts;
    std::vector<std::size_t> first_part;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      first_part.push_back(parts.size());
      const HeadGroup& group = call_.groups[items_[i].group];
      ForEachStep(group.schedule->runs(ItemOf(items_[i])), step_tiles_, [&](const KeyStep& step) {
        parts.push_back({static_cast<std::int64_t>(i), step});
      });
    }
    first_part.push_back(parts.size());
    const auto count = static_cast<std::int64_t>(parts.size());
    const std::int64_t items = static_cast<std::int64_t>(items_.size());
    float* workers =
        scratch_.Reserve(context_.pool().size() * WorkerSize() + (count + items) * StateSize());
    float* totals = workers + context_.pool().size() * WorkerSize();
    float* states = totals + items * StateSize();
    context_.pool().ForEach(count, [&](std::int64_t p, int w) {
      const Item& item = items_[parts[p].item];
      float* memory = workers + w * WorkerSize();
      const AttentionRows rows = Gather(item, memory);
      Attend(item, parts[p].step, rows, memory, EmptyState(states + p * StateSize()));
    });
    context_.pool().ForEach(items, [&](std::int64_t i, int) {
      const SoftmaxState total = EmptyState(totals + i * StateSize());
      const std::int64_t rows = ItemOf(items_[i]).rows.size() * call_.groups[items_[i].group].heads;
      for (std::size_t p = first_part[i]; p < first_part[i + 1]; ++p) {
        kernels_.merge(rows, width_, StateAt(states + p * StateSize()), total);
      }
      Finish(items_[i], total);
    });
  }

  void Finish(const Item& at, const SoftmaxState& state) const {
    const HeadGroup& group = call_.groups[at.group];
    const Range tokens = ItemOf(at).rows;
    const std::int64_t count = tokens.size() * group.heads;
    for (std::int64_t row = 0; row < count; ++row) {
      state.m[row] -= FarDistance(at, row);
      if (call_.options.sinks.empty()) continue;
      AddSink(call_.options.sinks[group.first_head + row % group.heads], row, state);
    }
    kernels_.normalise(count, width_, state);
    for (std::int64_t row = 0; row < count; ++row) {
      const double d = static_cast<double>(state.d[row]) + state.d_rest[row];
      call_.data.Store(group.batch, group.first_head + row % group.heads,
                       tokens.begin + row / group.heads, state.o + row * width_,
                       static_cast<float>((state.m[row] + std::log2(d)) / kLog2E));
    }
  }

  // What ALiBi takes from all scores of a row that stands before the first key, in units of log2.
  // Only here is it taken off: scores far from zero would lose the digits in which they differ.
  float FarDistance(const Item& at, std::int64_t row) const {
    const HeadGroup& group = call_.groups[at.group];
    const std::int64_t position =
        group.schedule->shape().Position(ItemOf(at).rows.begin + row / group.heads);
    if (call_.options.alibi_slopes.empty() || position >= 0) return 0;
    const double slope = call_.options.alibi_slopes[group.first_head + row % group.heads];
    return static_cast<float>(slope * static_cast<double>(-position) * kLog2E);
  }

  // A logit without a value: it only takes weight. One of -infinity takes none.
  void AddSink(float logit, std::int64_t row, const SoftmaxState& state) const {
    const auto sink = static_cast<float>(logit * kLog2E);
    if (std::isinf(sink)) return;
    const float m = std::max(sink, state.m[row]);
    const float keep = std::exp2(state.m[row] - m);
    for (std::int64_t i = row * width_; i < (row + 1) * width_; ++i) {
      state.o[i] *= keep;
      state.o_rest[i] *= keep;
    }
    state.d[row] = state.d[row] * keep + std::exp2(sink - m);
    state.d_rest[row] *= keep;
    state.m[row] = m;
  }

  Context& context_;
  const AttentionCall& call_;
  AttentionScratch& scratch_;
  const AttentionKernels& kernels_;
  const PageLayout& layout_;
  std::int64_t width_;
  std::int64_t step_tiles_;
  std::int64_t most_rows_ = 1;
  std::vector<Item> items_;
};

}  // namespace

std::int64_t ChooseTileRows(const AttentionShape& shape, std::int64_t heads_per_group,
                            std::int64_t groups, int threads) {
  const std::int64_t most = std::clamp<std::int64_t>(kMostRows / heads_per_group, 1, 64);
  const std::int64_t even = DivideUp(shape.queries * groups, kItemsPerThread * threads);
  const std::int64_t least = std::max<std::int64_t>(16 / heads_per_group, 1);
  return std::min(most, std::max(even, least));
}

ScoreOps ScoreOpsOf(const AttentionOptions& options, std::int64_t batch, std::int64_t head,
                    std::int64_t row) {
  ScoreOps ops{.soft_cap = options.soft_cap};
  if (!options.alibi_slopes.empty()) ops.slopes = &options.alibi_slopes[head];
  if (options.bias.data != nullptr) {
    ops.bias = &options.bias(batch, head, row, 0);
    ops.bias_head_stride = options.bias.strides[1];
    ops.bias_token_stride = options.bias.strides[2];
    ops.bias_key_stride = options.bias.strides[3];
  }
  return ops;
}

void Execute(Context& context, const AttentionCall& call, AttentionScratch& scratch) {
  Run(context, call, scratch).All();
}

}  // namespace foveate
