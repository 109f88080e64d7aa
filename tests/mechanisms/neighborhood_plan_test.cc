// The simulator's counts against an independent one, the published table, and the masks themselves.
#include "mechanisms/neighborhood_plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/throw.h"
#include "tests/mechanisms/golden_file.h"

namespace foveate {
namespace {

using nlohmann::json;

NeighborhoodPlan Plan(const IntegerList& shape, const IntegerList& window,
                      const IntegerList& stride, const TileShapes& tiles,
                      const IntegerList& dilation = {1}, const IntegerList& causal = {0}) {
  return PlanNeighborhood(MakeNeighborhoodGrid(shape, window, stride, dilation, causal), tiles);
}

TEST(NeighborhoodPlan, AgreesWithAnIndependentSimulator) {
  const auto results = testing::GoldenFile("gna").Record("simulator");
  for (const json& result : results) {
    SCOPED_TRACE(result.dump());
    const NeighborhoodPlan plan =
        Plan(result["shape"], result["window"], result["stride"],
             {result["q_tile"], result["kv_tile"], result["dynamic_kv_tiling"]}, {1},
             {result["causal"] ? 1 : 0});
    EXPECT_EQ(plan.dense_tiles, result["total_kv_tiles"]);
    EXPECT_EQ(plan.worst_tiles, result["worst_kv_tiles"]);
    EXPECT_EQ(plan.visited_tiles, result["sum_kv_tiles_all_q_tiles"]);
    EXPECT_NEAR(plan.WorstBound(), result["speedup_bound"].get<double>(), 1e-6);
    EXPECT_NEAR(plan.FlopBound(), result["flop_bound"].get<double>(), 1e-6);
  }
  EXPECT_GT(results.size(), 10u);
}

// End to end, rounded as printed there.
TEST(NeighborhoodPlan, PublishedTable) {
  const TileShapes video{{4, 8, 8}, {2, 8, 8}}, image{{16, 16}, {16, 8}};
  const auto end_to_end = [](const IntegerList& shape, const IntegerList& window,
                             const IntegerList& stride, const TileShapes& tiles, double share) {
    return Plan(shape, window, stride, tiles).EndToEnd(share);
  };
  const IntegerList hunyuan = {30, 48, 80}, small = {18, 24, 24}, large = {30, 40, 40};
  const double share = 0.607;
  EXPECT_NEAR(end_to_end(hunyuan, small, {1, 1, 1}, video, share), 1.73, 0.005);
  EXPECT_NEAR(end_to_end(hunyuan, small, {2, 1, 8}, video, share), 2.02, 0.005);
  EXPECT_NEAR(end_to_end(hunyuan, small, {16, 8, 8}, video, share), 2.23, 0.005);
  EXPECT_NEAR(end_to_end(hunyuan, large, {1, 1, 8}, video, share), 1.44, 0.005);
  EXPECT_NEAR(end_to_end(hunyuan, large, {1, 32, 8}, video, share), 1.55, 0.005);
  for (const auto& [stride, expected] :
       {std::pair{IntegerList{1, 1}, 1.76}, {{16, 1}, 1.84}, {{16, 16}, 1.88}}) {
    EXPECT_NEAR(end_to_end({256, 256}, {80, 80}, stride, image, 0.518), expected, 0.005);
  }
}

// Tile by tile from the element test.
TEST(NeighborhoodPlan, CountsAreThoseOfTheMask) {
  std::mt19937 random(3);
  const auto draw = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  for (int i = 0; i < 300; ++i) {
    NeighborhoodAxis axis{.length = draw(1, 40)};
    axis.window = draw(1, axis.length);
    axis.stride = draw(1, axis.window);
    axis.dilation = draw(1, axis.length / axis.window);
    axis.causal = draw(0, 2) == 0;
    const std::int64_t tile_q = draw(1, 9), tile_k = draw(1, 9);
    double visited = 0, worst = 0, full = 0, pairs = 0;
    for (std::int64_t group = 0; group < axis.dilation; ++group) {
      const std::int64_t length = axis.GroupLength(group);
      for (std::int64_t q = 0; q < length; q += tile_q) {
        double of_tile = 0;
        for (std::int64_t k = 0; k < length; k += tile_k) {
          bool some = false, every = true;
          for (std::int64_t x = q; x < std::min(q + tile_q, length); ++x) {
            const Range seen = axis.Seen(group, x);
            for (std::int64_t y = k; y < std::min(k + tile_k, length); ++y) {
              const bool sees = seen.begin <= y && y < seen.end;
              some = some || sees;
              every = every && sees;
              pairs += sees;
            }
          }
          of_tile += some;
          full += every;
        }
        visited += of_tile;
        worst = std::max(worst, of_tile);
      }
    }
    const NeighborhoodPlan plan = PlanNeighborhood({{axis}}, {{tile_q}, {tile_k}});
    EXPECT_EQ(plan.visited_tiles, visited);
    EXPECT_EQ(plan.worst_tiles, worst);
    EXPECT_EQ(plan.full_tiles, full);
    EXPECT_EQ(plan.pairs, pairs);
  }
}

// The published test of one axis passes this one, whose second stride group starts within a tile.
TEST(NeighborhoodPlan, PerfectMeansNoPartialTile) {
  EXPECT_FALSE(Plan({28}, {18}, {7}, {{1}, {2}}).perfect());
  EXPECT_TRUE(Plan({30, 48, 80}, {18, 24, 24}, {16, 8, 8}, {{4, 8, 8}, {2, 8, 8}}).perfect());
  EXPECT_FALSE(Plan({30, 48, 80}, {18, 24, 24}, {18, 24, 24}, {{4, 8, 8}, {2, 8, 8}}).perfect());
  EXPECT_TRUE(Plan({64}, {64}, {1}, {{8}, {16}}).perfect());
}

TEST(NeighborhoodPlan, SweepKeepsWhatImproves) {
  const NeighborhoodGrid grid = MakeNeighborhoodGrid({30, 48, 80}, {18, 24, 24}, {1}, {1}, {0});
  const TileShapes tiles{{4, 8, 8}, {2, 8, 8}};
  std::vector<NeighborhoodPlan> plans = SweepStrides(grid, tiles);
  EXPECT_EQ(plans.front().grid.axes[0].stride, 1);
  for (const NeighborhoodPlan& plan : plans) {
    EXPECT_EQ(plan.WorstBound(), PlanNeighborhood(plan.grid, tiles).WorstBound());
    for (const NeighborhoodPlan& other : plans) {
      bool smaller = &other != &plan;
      for (std::size_t a = 0; a < 3; ++a) {
        smaller = smaller && other.grid.axes[a].stride <= plan.grid.axes[a].stride;
      }
      if (smaller) {
        EXPECT_LT(other.WorstBound(), plan.WorstBound());
      }
    }
  }
  RankPlans(plans);
  EXPECT_NEAR(plans.front().WorstBound(), 11.11, 0.005);
  EXPECT_TRUE(plans.front().perfect());
}

TEST(NeighborhoodPlan, RefusesTilesThatDoNotFit) {
  EXPECT_THROW(Plan({8, 8}, {3, 3}, {1, 1}, {{4}, {4, 4}}), Error);
  EXPECT_THROW(Plan({8, 8}, {3, 3}, {1, 1}, {{4, 0}, {4, 4}}), Error);
}

struct BadGrid {
  IntegerList shape, window, stride, dilation;
  const char* message;
};

TEST(NeighborhoodGrid, SaysWhichRuleIsBroken) {
  for (const BadGrid& bad : std::vector<BadGrid>{
           {{8, 8}, {3, 9}, {1}, {1}, "axis 1: window 9 is larger than the grid's 8"},
           {{8, 8}, {3, 5}, {4, 1}, {1}, "axis 0: stride 4 is larger than window 3"},
           {{8, 10},
            {3, 5},
            {1},
            {2, 3},
            "axis 1: dilation 3 x window 5 = 15 is beyond the grid's"},
           {{2, 2, 2, 2}, {1}, {1}, {1}, "shape 2x2x2x2 has 4 axes, expected 1 to 3"},
           {{8, 8}, {3, 3, 3}, {1}, {1}, "window 3x3x3 has 3 axes and shape 8x8 has 2"}}) {
    try {
      MakeNeighborhoodGrid(bad.shape, bad.window, bad.stride, bad.dilation, {0});
      ADD_FAILURE() << bad.message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(bad.message), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace foveate
