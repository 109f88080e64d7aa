// `foveate plan neighborhood`: what neighborhood attention can save, and what it does save here.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/throw.h"
#include "cli/interrupt.h"
#include "cli/line_chart.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "mechanisms/neighborhood_plan.h"
#include "mechanisms/registry.h"
#include "runtime/neighborhood_bench.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr int kChartWindows = 40;

struct Flags {
  ModelOptions machine;
  std::string shape, window, stride, dilation = "1", causal = "0";
  std::string query_tile, key_tile;
  bool dynamic = false, sweep = false, published = false, measure = false, json = false;
  double share = 0;
  std::size_t top = 20;
  NeighborhoodBenchOptions bench;
  std::string chart;
};

IntegerList AxesOf(std::string_view key, const std::string& text) {
  const Param param{.key = key, .type = ParamType::kAxes, .help = "", .least = 1};
  return std::get<IntegerList>(ParamFromText(FindMechanism("neighborhood"), param, text));
}

NeighborhoodGrid GridOf(const Flags& flags) {
  if (flags.shape.empty() || flags.window.empty()) {
    Throw(ErrorCode::kInvalidArgument, "plan neighborhood needs --shape and --window");
  }
  Params params(FindMechanism("neighborhood"));
  const auto set = [&](std::string_view key, const std::string& text) {
    for (const Param& param : params.mechanism().params) {
      if (param.key == key) params.Set(key, ParamFromText(params.mechanism(), param, text));
    }
  };
  set("shape", flags.shape);
  set("window", flags.window);
  set("stride", flags.stride.empty() ? "1" : flags.stride);
  set("dilation", flags.dilation);
  set("causal", flags.causal);
  return MakeNeighborhoodGrid(params);
}

// Those of the flags; without any the tiles that the operator can use.
std::vector<TileShapes> TilesOf(const Flags& flags, std::size_t axes) {
  if (flags.query_tile.empty() && flags.key_tile.empty()) {
    std::vector<TileShapes> tiles = KernelTiles(axes);
    for (TileShapes& shapes : tiles) shapes.dynamic = flags.dynamic;
    return tiles;
  }
  const std::string& query = flags.query_tile.empty() ? flags.key_tile : flags.query_tile;
  const std::string& key = flags.key_tile.empty() ? flags.query_tile : flags.key_tile;
  return {{AxesOf("tile-q", query), AxesOf("tile-k", key), flags.dynamic}};
}

// The settings of the paper's tables, with its tiles.
std::vector<NeighborhoodPlan> PublishedPlans() {
  const TileShapes video{{4, 8, 8}, {2, 8, 8}}, image{{16, 16}, {16, 8}},
      world{{8, 4, 8}, {4, 4, 8}};
  std::vector<NeighborhoodPlan> plans;
  const auto add = [&](const IntegerList& shape, const IntegerList& window, const TileShapes& tiles,
                       const std::vector<IntegerList>& strides) {
    for (const IntegerList& stride : strides) {
      plans.push_back(
          PlanNeighborhood(MakeNeighborhoodGrid(shape, window, stride, {1}, {0}), tiles));
    }
  };
  add({30, 48, 80}, {18, 24, 24}, video,
      {{1, 1, 1}, {2, 1, 1}, {1, 1, 8}, {2, 1, 8}, {1, 8, 8}, {2, 8, 8}, {16, 8, 8}, {18, 24, 24}});
  add({30, 48, 80}, {30, 40, 40}, video, {{1, 1, 1}, {1, 1, 8}, {1, 32, 8}});
  add({256, 256}, {80, 80}, image, {{1, 1}, {16, 1}, {16, 16}});
  add({16, 44, 80}, {16, 32, 48}, world, {{1, 8, 16}});
  return plans;
}

std::vector<NeighborhoodPlan> PlansOf(const Flags& flags) {
  if (flags.published) return PublishedPlans();
  const NeighborhoodGrid grid = GridOf(flags);
  std::vector<NeighborhoodPlan> plans;
  for (const TileShapes& tiles : TilesOf(flags, grid.axes.size())) {
    if (flags.sweep || flags.stride.empty()) {
      for (NeighborhoodPlan& plan : SweepStrides(grid, tiles)) plans.push_back(std::move(plan));
    } else {
      plans.push_back(PlanNeighborhood(grid, tiles));
    }
  }
  RankPlans(plans);
  return plans;
}

// The tiles that the operator uses for a grid: those that visit the fewest.
NeighborhoodPlan OperatorPlan(const NeighborhoodGrid& grid) {
  std::vector<NeighborhoodPlan> plans;
  for (const TileShapes& tiles : KernelTiles(grid.axes.size())) {
    plans.push_back(PlanNeighborhood(grid, tiles));
  }
  return *std::min_element(plans.begin(), plans.end(), [](const auto& a, const auto& b) {
    return a.visited_tiles < b.visited_tiles;
  });
}

std::string StrideText(const NeighborhoodGrid& grid) {
  std::vector<std::int64_t> strides;
  for (const NeighborhoodAxis& axis : grid.axes) strides.push_back(axis.stride);
  return fmt::format("{}", fmt::join(strides, "x"));
}

std::string WindowText(const NeighborhoodGrid& grid) {
  std::vector<std::int64_t> windows;
  for (const NeighborhoodAxis& axis : grid.axes) windows.push_back(axis.window);
  return fmt::format("{}", fmt::join(windows, "x"));
}

// --- the trade-off, drawn ---

// The grid with all windows the same share of their axes, strides no larger.
NeighborhoodGrid WithWindows(NeighborhoodGrid grid, double share, bool strided) {
  for (NeighborhoodAxis& axis : grid.axes) {
    const std::int64_t most = axis.length / axis.dilation;
    axis.window =
        std::clamp<std::int64_t>(std::llround(share * static_cast<double>(most)), 1, most);
    axis.stride = strided ? std::min(axis.stride, axis.window) : 1;
  }
  return grid;
}

LineChart ChartOf(const NeighborhoodPlan& chosen) {
  const NeighborhoodGrid& grid = chosen.grid;
  LineChart chart{
      .title = fmt::format("{}, tiles {} / {}", grid.ShapeText(),
                           fmt::join(chosen.tiles.query, "x"), fmt::join(chosen.tiles.key, "x")),
      .x_label = "window, share of each axis",
      .y_label = "bound of the speed-up over dense attention"};
  ChartLine flops{"FLOPs alone", {}}, one{"stride 1", {}},
      strided{"stride " + StrideText(grid), {}};
  for (int i = 1; i <= kChartWindows; ++i) {
    const double share = static_cast<double>(i) / kChartWindows;
    const NeighborhoodPlan plain = PlanNeighborhood(WithWindows(grid, share, false), chosen.tiles);
    flops.points.emplace_back(share, plain.FlopBound());
    one.points.emplace_back(share, plain.WorstBound());
    strided.points.emplace_back(
        share, PlanNeighborhood(WithWindows(grid, share, true), chosen.tiles).WorstBound());
  }
  chart.lines = {flops, one};
  if (StrideText(grid).find_first_not_of("1x") != std::string::npos) chart.lines.push_back(strided);
  return chart;
}

// --- what is printed ---

OrderedJson PlanJson(const Flags& flags, const NeighborhoodPlan& plan) {
  OrderedJson object = {{"spec", plan.grid.SpecText()},
                        {"query_tile", plan.tiles.query},
                        {"key_tile", plan.tiles.key},
                        {"dynamic", plan.tiles.dynamic},
                        {"dense_tiles", plan.dense_tiles},
                        {"worst_tiles", plan.worst_tiles},
                        {"mean_tiles", plan.visited_tiles / plan.query_tiles},
                        {"visited_tiles", plan.visited_tiles},
                        {"pairs", plan.pairs},
                        {"flop_bound", plan.FlopBound()},
                        {"bound", plan.WorstBound()},
                        {"mean_bound", plan.MeanBound()},
                        {"partial_share", plan.PartialShare()},
                        {"wasted_share", plan.WastedShare()},
                        {"perfect", plan.perfect()}};
  if (flags.share > 0) object["end_to_end"] = plan.EndToEnd(flags.share);
  return object;
}

void PrintPlans(const Flags& flags, const std::vector<NeighborhoodPlan>& plans) {
  const std::size_t shown = flags.published ? plans.size() : std::min(flags.top, plans.size());
  std::string grid;
  for (std::size_t i = 0; i < shown; ++i) {
    const NeighborhoodPlan& plan = plans[i];
    const std::string next =
        fmt::format("{}, window {}", plan.grid.ShapeText(), WindowText(plan.grid));
    if (next != grid) {
      fmt::print(
          "{}{}: bound by FLOPs {:.2f}\n{:<12} {:>8} {:>8} {:>14} {:>6} {:>6} {:>8} {:>7}{}\n",
          grid.empty() ? "" : "\n", next, plan.FlopBound(), "stride", "tile q", "tile k",
          "visited (worst)", "bound", "mean", "partial", "wasted",
          flags.share > 0 ? "  end to end" : "");
      grid = next;
    }
    fmt::print("{:<12} {:>8} {:>8} {:>15} {:>6.2f} {:>6.2f} {:>7.0f}% {:>6.0f}%",
               StrideText(plan.grid), fmt::format("{}", fmt::join(plan.tiles.query, "x")),
               fmt::format("{}", fmt::join(plan.tiles.key, "x")),
               fmt::format("{} of {}", plan.worst_tiles, plan.dense_tiles), plan.WorstBound(),
               plan.MeanBound(), 100 * plan.PartialShare(), 100 * plan.WastedShare());
    if (flags.share > 0) fmt::print(" {:>11.2f}", plan.EndToEnd(flags.share));
    fmt::print("{}\n", plan.perfect() ? "  perfect" : "");
  }
  if (shown < plans.size()) {
    fmt::print("and {} more (--top shows them)\n", plans.size() - shown);
  }
}

struct Measured {
  NeighborhoodPlan plan;           // as asked for
  NeighborhoodPlan with_operator;  // with the operator's tiles
  NeighborhoodTiming timing;
};

// The best plan of each stride, as many as are shown.
std::vector<Measured> Measure(const Flags& flags, const std::vector<NeighborhoodPlan>& plans) {
  std::vector<NeighborhoodGrid> grids;
  std::vector<Measured> measured;
  for (const NeighborhoodPlan& plan : plans) {
    const bool known = std::any_of(grids.begin(), grids.end(), [&](const NeighborhoodGrid& grid) {
      return grid.SpecText() == plan.grid.SpecText();
    });
    if (known || (!flags.published && grids.size() == flags.top)) continue;
    grids.push_back(plan.grid);
    measured.push_back({plan, OperatorPlan(plan.grid), {}});
  }
  const std::unique_ptr<Context> context = MakeContext(flags.machine);
  ProgressBar bar("measuring");
  NeighborhoodBenchOptions options = flags.bench;
  options.on_step = [&](const std::string& what) {
    ThrowIfInterrupted();
    bar.Update(-1, what);
  };
  const std::vector<NeighborhoodTiming> timings = BenchNeighborhood(*context, grids, options);
  for (std::size_t i = 0; i < timings.size(); ++i) measured[i].timing = timings[i];
  return measured;
}

// Speed-ups, predicted and measured, beside their bounds.
LineChart ChartOf(const Flags& flags, std::vector<Measured> all) {
  std::sort(all.begin(), all.end(), [](const Measured& a, const Measured& b) {
    return a.plan.WorstBound() < b.plan.WorstBound();
  });
  ChartLine bound{"bound", {}}, predicted{"predicted", {}}, measured{"measured", {}};
  for (const Measured& m : all) {
    const double x = m.plan.WorstBound();
    bound.points.emplace_back(x, x);
    predicted.points.emplace_back(x, m.timing.dense / m.timing.predicted);
    measured.points.emplace_back(x, m.timing.speedup);
  }
  return {.title = fmt::format("{} heads of {}, settings by their bound", flags.bench.heads,
                               flags.bench.dim),
          .x_label = "bound of the speed-up over dense attention",
          .y_label = "speed-up",
          .lines = {bound, predicted, measured}};
}

OrderedJson MeasuredJson(const Measured& measured) {
  return {{"spec", measured.plan.grid.SpecText()},
          {"operator_tile", measured.with_operator.tiles.key},
          {"bound", measured.plan.WorstBound()},
          {"operator_bound", measured.with_operator.WorstBound()},
          {"predicted_seconds", measured.timing.predicted},
          {"measured_seconds", measured.timing.measured},
          {"dense_seconds", measured.timing.dense},
          {"speedup", measured.timing.speedup},
          {"permutation_share", measured.timing.permutation}};
}

void PrintMeasured(const Flags& flags, const std::vector<Measured>& all) {
  fmt::print("\n{} heads of {}, beside dense attention (of 1/16 of its rows)\n", flags.bench.heads,
             flags.bench.dim);
  fmt::print("{:<11} {:<9} {:<9} {:>7} {:>8} {:>10} {:>10} {:>10} {:>7} {:>8} {:>9} {:>7}\n",
             "shape", "window", "stride", "tile", "dense", "predicted", "measured", "predicted/",
             "speed-up", "of bound", "of tiles'", "permut.");
  for (const Measured& m : all) {
    const NeighborhoodTiming& t = m.timing;
    fmt::print(
        "{:<11} {:<9} {:<9} {:>7} {:>6.2f} s {:>8.3f} s {:>8.3f} s {:>10.2f} {:>7.2f} {:>8.2f} "
        "{:>9.2f} {:>6.1f}%\n",
        m.plan.grid.ShapeText(), WindowText(m.plan.grid), StrideText(m.plan.grid),
        fmt::format("{}", fmt::join(m.with_operator.tiles.key, "x")), t.dense, t.predicted,
        t.measured, t.predicted / t.measured, t.speedup, t.speedup / m.plan.WorstBound(),
        t.speedup / m.with_operator.WorstBound(), 100 * t.permutation);
  }
}

int Plan(const Flags& flags) {
  const std::vector<NeighborhoodPlan> plans = PlansOf(flags);
  if (!flags.json) PrintPlans(flags, plans);
  std::vector<Measured> measured;
  if (flags.measure) measured = Measure(flags, plans);
  if (!flags.chart.empty()) {
    WriteLineChart(flags.chart, flags.measure ? ChartOf(flags, measured) : ChartOf(plans.front()));
  }
  if (!flags.json) {
    if (flags.measure) PrintMeasured(flags, measured);
    return kExitOk;
  }
  OrderedJson object = {{"plans", OrderedJson::array()}};
  for (const NeighborhoodPlan& plan : plans) object["plans"].push_back(PlanJson(flags, plan));
  if (flags.measure) {
    object["heads"] = flags.bench.heads;
    object["dim"] = flags.bench.dim;
    object["measured"] = OrderedJson::array();
    for (const Measured& m : measured) object["measured"].push_back(MeasuredJson(m));
  }
  PrintJson(object);
  return kExitOk;
}

constexpr const char* kFooter =
    R"(A kernel with tiles of queries and keys visits every tile of keys that some query of a tile
sees. `bound` is what dense attention visits over what the worst tile of queries does, `mean` the
same of all; `perfect` settings have no tile that needs a mask. Without --stride the strides are
swept: those are shown that improve on all smaller ones. Without --tile-q and --tile-k the tiles are
those that the operator can use.

--measure times the best settings beside dense attention; the prediction comes from a few other
grids that are timed first. `of bound` is the share of the bound that is reached, `of tiles'` that
of the operator's own tiles, `permut.` what putting the tokens in the order of tiles and back adds to
the time.

Examples:
  foveate plan neighborhood --shape 30x48x80 --window 18x24x24
  foveate plan neighborhood --shape 30x48x80 --window 18x24x24 --stride 16x8x8 -o plan.svg
  foveate plan neighborhood --shape 64x64 --window 16x16 --measure --top 3
  foveate plan neighborhood --published)";

void AddNeighborhoodVerb(CLI::App& plan, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = plan.add_subcommand("neighborhood", "Tiles, bounds and times of neighborhoods");
  verb->footer(kFooter);
  verb->add_option("--shape", flags->shape, "grid of the tokens, such as 30x48x80");
  verb->add_option("--window", flags->window, "tokens seen along each axis, or along all");
  verb->add_option("--stride", flags->stride, "tokens that share a window");
  verb->add_option("--dilation", flags->dilation, "distance of the tokens seen (default 1)");
  verb->add_option("--causal", flags->causal, "1 for axes whose later tokens are hidden");
  verb->add_option("--tile-q", flags->query_tile, "tokens of a tile of queries");
  verb->add_option("--tile-k", flags->key_tile, "tokens of a tile of keys");
  verb->add_flag("--dynamic", flags->dynamic, "cut tiles of keys from the neighborhood's begin");
  verb->add_flag("--sweep", flags->sweep, "all strides that improve on smaller ones");
  verb->add_flag("--published", flags->published, "the settings of arXiv 2504.16922");
  verb->add_option("--share", flags->share, "of a model's time in attention, for its speed-up")
      ->check(CLI::Range(0.0, 1.0));
  verb->add_option("--top", flags->top, "settings that are shown (default 20)")
      ->check(CLI::Range(1, 1'000'000));
  verb->add_flag("--measure", flags->measure, "predict and measure times on this machine");
  verb->add_option("--heads", flags->bench.heads, "heads that are measured (default 1)")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--dim", flags->bench.dim, "their dimension (default 64)")
      ->check(CLI::Range(1, 512));
  verb->add_option("--reps", flags->bench.repetitions, "measured repetitions (default 3)")
      ->check(CLI::Range(1, 1000));
  verb->add_option("-o,--output", flags->chart,
                   "draw bounds against windows, or with --measure speed-ups: FILE.svg");
  AddMachineOptions(*verb, flags->machine);
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return Plan(*flags); }; });
}

}  // namespace

void AddPlanVerb(CLI::App& app, Work& work) {
  CLI::App* plan = app.add_subcommand("plan", "What a mechanism can save, before it runs");
  plan->require_subcommand(1);
  AddNeighborhoodVerb(*plan, work);
  AddPlanKineticsVerb(*plan, work);
}

}  // namespace foveate::cli
