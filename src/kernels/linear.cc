#include "kernels/linear.h"

#include <algorithm>
#include <cassert>

#include "base/checked.h"
#include "kernels/linear_kernels.h"

namespace foveate {
namespace {

// Work is cut into items, a range of tiles times one group of tokens each, which threads take in
// order. With many tokens, more items than threads let a thread that lost its core to another
// program do less. A single token is bound by memory: there each thread streams one range from end
// to end, so that the hardware's prefetching never starts over.
constexpr std::int64_t kItemsPerThread = 16;
// Multiplications below which an item costs more to hand out than to compute.
constexpr std::int64_t kSmallestItem = 50'000;

// Tiles [first_tile, end_tile) of all tasks' tiles in sequence, for one group of tokens.
struct Item {
  std::int64_t first_tile, end_tile;
  std::int64_t group;
};

// How one call is cut. Items go token group by token group; nothing is stored.
class Partition {
 public:
  Partition(const Activations& x, std::span<const LinearTask> tasks, int threads) {
    for (const LinearTask& task : tasks) tiles_ += task.weights->tiles();
    const std::int64_t group_tokens = std::min(x.tokens(), Activations::kGroupTokens);
    const std::int64_t tile_work =
        std::max<std::int64_t>(1, x.columns() * kTileRows * group_tokens);
    const std::int64_t groups = std::max<std::int64_t>(1, x.groups());
    const std::int64_t wanted =
        threads == 1 ? 1 : threads * (x.tokens() == 1 ? 1 : DivideUp(kItemsPerThread, groups));
    const std::int64_t most = std::max<std::int64_t>(1, tiles_ * tile_work / kSmallestItem);
    chunks_ = std::min({wanted, most, std::max<std::int64_t>(1, tiles_)});
    items_ = chunks_ * x.groups();
  }

  std::int64_t items() const { return items_; }

  Item operator[](std::int64_t index) const {
    const std::int64_t chunk = index % chunks_;
    return {tiles_ * chunk / chunks_, tiles_ * (chunk + 1) / chunks_, index / chunks_};
  }

 private:
  std::int64_t tiles_ = 0;
  std::int64_t chunks_ = 1;  // ranges of tiles per token group
  std::int64_t items_ = 0;
};

// One tile's sums [tokens][16] to their place in the output.
void StoreSums(const float* sums, const LinearTask& task, std::int64_t tile,
               std::int64_t first_token, std::int64_t tokens) {
  const std::int64_t row = tile * kTileRows;
  const std::int64_t rows = std::min<std::int64_t>(kTileRows, task.weights->rows() - row);
  for (std::int64_t t = 0; t < tokens; ++t, sums += kTileRows) {
    float* output = task.output.data + (first_token + t) * task.output.strides[0] + row;
    if (task.accumulate) {
      for (std::int64_t i = 0; i < rows; ++i) output[i] += sums[i];
    } else {
      std::copy_n(sums, rows, output);
    }
  }
}

void ComputeTile(const Activations& x, const LinearTask& task, std::int64_t tile,
                 std::int64_t group, Isa isa) {
  const PackedMatrix& weights = *task.weights;
  const std::int64_t first_token = group * Activations::kGroupTokens;
  const std::int64_t tokens = x.group_tokens(group);
  alignas(64) float sums[Activations::kGroupTokens * kTileRows];
  if (x.mode() == ActivationMode::kQ8 && weights.layout().quantized()) {
    QuantKernelFor(isa)(
        {&weights.layout(), weights.tile(tile), x.columns(), x.group(group), tokens, sums});
  } else {
    const View<const float, 2>& floats = x.floats();
    FloatKernelFor(isa)({&weights.layout(), weights.tile(tile), x.columns(),
                         floats.data + first_token * floats.strides[0], floats.strides[0], tokens,
                         sums});
  }
  StoreSums(sums, task, tile, first_token, tokens);
}

void Compute(const Activations& x, std::span<const LinearTask> tasks, const Item& item, Isa isa) {
  std::int64_t before = 0;  // tiles of the tasks passed
  for (const LinearTask& task : tasks) {
    const std::int64_t tiles = task.weights->tiles();
    const std::int64_t end = std::min(tiles, item.end_tile - before);
    for (std::int64_t tile = std::max<std::int64_t>(0, item.first_tile - before); tile < end;
         ++tile) {
      ComputeTile(x, task, tile, item.group, isa);
    }
    before += tiles;
  }
}

}  // namespace

void Linear(Context& context, const Activations& x, std::span<const LinearTask> tasks) {
  for ([[maybe_unused]] const LinearTask& task : tasks) {
    assert(task.weights->columns() == x.columns());
    assert(task.output.shape[0] == x.tokens() && task.output.shape[1] == task.weights->rows());
    assert(task.output.strides[1] == 1 && x.floats().strides[1] == 1);
  }
  const Partition partition(x, tasks, context.pool().size());
  const Isa isa = context.isa();
  context.pool().ForEach(partition.items(), [&](std::int64_t index, int) {
    Compute(x, tasks, partition[index], isa);
  });
}

}  // namespace foveate
