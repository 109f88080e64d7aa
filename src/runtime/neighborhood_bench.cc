#include "runtime/neighborhood_bench.h"

#include <algorithm>
#include <array>
#include <bit>
#include <random>

#include "attention/attention.h"
#include "base/checked.h"
#include "base/stopwatch.h"
#include "kernels/attention_kernels.h"
#include "mechanisms/spec.h"
#include "runtime/attention_bench.h"

namespace foveate {
namespace {

constexpr std::int64_t kDenseShare = 16;  // dense attention is measured on one row in so many
constexpr std::int64_t kPanelKeys = 16;

using Work = std::array<double, NeighborhoodCosts::kTerms>;

PatternPtr PatternOf(const NeighborhoodGrid& grid) {
  return ParseAttentionSpec(grid.SpecText()).At(0, 0).pattern;
}

// Panels of keys that blocks of rows compute of a partial tile.
double PanelsOfTile(const Schedule& schedule, Range rows, std::int64_t tile,
                    std::int64_t block_rows) {
  double panels = 0;
  for (std::int64_t first = rows.begin; first < rows.end; first += block_rows) {
    std::uint64_t seen = 0;
    for (std::int64_t row = first; row < std::min(first + block_rows, rows.end); ++row) {
      seen |= schedule.pattern().Bits(schedule.shape(), row, tile * kTileKeys);
    }
    if (seen == 0) continue;
    const int first_key = std::countr_zero(seen), last_key = 63 - std::countl_zero(seen);
    const std::int64_t of_block = last_key / kPanelKeys - first_key / kPanelKeys + 1;
    panels += static_cast<double>(of_block);
  }
  return panels;
}

// Of one head: panels of scores and values; tiles that need a mask; tiles visited; tokens moved.
Work WorkOf(const NeighborhoodGrid& grid, std::int64_t block_rows) {
  const Schedule schedule = OrderedSchedule(PatternOf(grid), {grid.tokens(), grid.tokens()});
  Work work{};
  for (const ScheduleItem& item : schedule.items()) {
    const auto blocks = static_cast<double>(DivideUp(item.rows.size(), block_rows));
    for (const TileRun& run : schedule.runs(item)) {
      for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
        work[0] += run.partial ? PanelsOfTile(schedule, item.rows, tile, block_rows)
                               : blocks * kTileKeys / kPanelKeys;
        work[1] += run.partial;
        work[2] += 1;
      }
    }
  }
  work[3] = static_cast<double>(schedule.shape().keys);
  return work;
}

class Bench {
 public:
  Bench(Context& context, const NeighborhoodBenchOptions& options)
      : context_(context), options_(options) {}

  // Seconds of the last `rows` of a grid's tokens; null: dense attention.
  double Run(const PatternPtr& pattern, std::int64_t tokens, std::int64_t rows) {
    Prepare(tokens);
    const std::int64_t heads = options_.heads, dim = options_.dim;
    const auto ref = [&](auto* data, std::int64_t count) {
      return RefOf(View<std::remove_pointer_t<decltype(data)>, 4>{
          data + (tokens - count) * dim, {1, heads, count, dim}, {0, tokens * dim, dim, 1}});
    };
    const AttentionInputs inputs{ref(std::as_const(query_).data(), rows),
                                 ref(std::as_const(key_).data(), tokens),
                                 ref(std::as_const(value_).data(), tokens)};
    const Stopwatch watch;
    Attention(context_, inputs, {.pattern = pattern}, scratch_, {ref(out_.data(), rows)});
    return watch.Seconds();
  }

  double Measure(const NeighborhoodGrid& grid) {
    Say(grid);
    const PatternPtr pattern = PatternOf(grid);
    std::vector<double> seconds;
    Run(pattern, grid.tokens(), grid.tokens());
    for (int i = 0; i < options_.repetitions; ++i) {
      seconds.push_back(Run(pattern, grid.tokens(), grid.tokens()));
    }
    return Median(seconds);
  }

  NeighborhoodTiming MeasureBesideDense(const NeighborhoodGrid& grid) {
    const PatternPtr pattern = PatternOf(grid);
    const std::int64_t tokens = grid.tokens(), rows = DivideUp(tokens, kDenseShare);
    const double scale = static_cast<double>(tokens) / static_cast<double>(rows);
    const std::shared_ptr<const TokenOrder> order = pattern->Order({tokens, tokens});
    std::vector<double> seconds, dense, speedups, overheads;
    for (int i = -1; i < options_.repetitions; ++i) {
      Say(grid);
      const double of_dense = scale * Run(nullptr, tokens, rows);
      const double of_grid = Run(pattern, tokens, tokens);
      const std::int64_t places = order == nullptr ? tokens : std::ssize(order->tokens);
      const double in_order = order == nullptr ? of_grid : Run(order->pattern, places, places);
      if (i < 0) continue;
      overheads.push_back(of_grid / in_order - 1);
      dense.push_back(of_dense);
      seconds.push_back(of_grid);
      speedups.push_back(of_dense / of_grid);
    }
    return {.measured = Median(seconds),
            .dense = Median(dense),
            .speedup = Median(speedups),
            .permutation = Median(overheads)};
  }

 private:
  void Say(const NeighborhoodGrid& grid) const {
    if (options_.on_step) options_.on_step(grid.SpecText());
  }

  void Prepare(std::int64_t tokens) {
    const std::int64_t count = options_.heads * tokens * options_.dim;
    if (std::ssize(query_) >= count) return;
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (std::vector<float>* tensor : {&query_, &key_, &value_}) {
      tensor->resize(count);
      for (float& value : *tensor) value = uniform(random);
    }
    out_.resize(count);
  }

  Context& context_;
  const NeighborhoodBenchOptions& options_;
  AttentionScratch scratch_;
  std::vector<float> query_, key_, value_, out_;
};

// Small grids that differ in what their work is made of.
std::vector<NeighborhoodGrid> CalibrationGrids() {
  const auto grid = [](const IntegerList& shape, const IntegerList& window,
                       const IntegerList& stride) {
    return MakeNeighborhoodGrid(shape, window, stride, {1}, {0});
  };
  return {grid({96, 96}, {24, 24}, {1, 1}),
          grid({96, 96}, {24, 24}, {8, 8}),
          grid({96, 96}, {9, 9}, {1, 1}),
          grid({96, 96}, {48, 48}, {3, 3}),
          grid({16, 24, 32}, {8, 12, 16}, {1, 1, 1}),
          grid({16, 24, 32}, {8, 8, 16}, {4, 4, 8}),
          grid({8192}, {8192}, {1})};
}

}  // namespace

// Least squares of relative errors by descent along one cost after the other, none below zero.
NeighborhoodCosts::NeighborhoodCosts(Context& context, const NeighborhoodBenchOptions& options)
    : block_rows_(AttentionKernelsFor(context.isa()).block_rows) {
  Bench bench(context, options);
  std::vector<Work> shares;  // of the measured time, per second of cost
  for (const NeighborhoodGrid& grid : CalibrationGrids()) {
    Work& share = shares.emplace_back(WorkOf(grid, block_rows_));
    const double seconds = bench.Measure(grid);
    for (double& term : share) term /= seconds;
  }
  for (int round = 0; round < 2000; ++round) {
    for (int term = 0; term < kTerms; ++term) {
      double along = 0, square = 0;
      for (const Work& share : shares) {
        double rest = 1;
        for (int other = 0; other < kTerms; ++other) rest -= share[other] * seconds_[other];
        along += share[term] * rest;
        square += share[term] * share[term];
      }
      if (square > 0) seconds_[term] = std::max(seconds_[term] + along / square, 0.0);
    }
  }
}

double NeighborhoodCosts::Predict(const NeighborhoodGrid& grid) const {
  const Work work = WorkOf(grid, block_rows_);
  double seconds = 0;
  for (int term = 0; term < kTerms; ++term) seconds += work[term] * seconds_[term];
  return seconds;
}

std::vector<NeighborhoodTiming> BenchNeighborhood(Context& context,
                                                  const std::vector<NeighborhoodGrid>& grids,
                                                  const NeighborhoodBenchOptions& options) {
  const NeighborhoodCosts costs(context, options);
  Bench bench(context, options);
  std::vector<NeighborhoodTiming> timings;
  for (const NeighborhoodGrid& grid : grids) {
    timings.push_back(bench.MeasureBesideDense(grid));
    timings.back().predicted = costs.Predict(grid);
  }
  return timings;
}

}  // namespace foveate
