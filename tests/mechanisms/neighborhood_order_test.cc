// The order in tiles says the same as the grid, and visits fewer tiles.
#include "mechanisms/neighborhood_order.h"

#include <gtest/gtest.h>

#include <numeric>

#include "attention/schedule.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/pattern_check.h"

namespace foveate {
namespace {

using namespace testing;

NeighborhoodAxis RandomAxis(std::int64_t length, std::mt19937& random) {
  const auto draw = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  NeighborhoodAxis axis{.length = length, .window = draw(1, length)};
  axis.stride = draw(1, axis.window);
  axis.dilation = draw(1, length / axis.window);
  axis.causal = draw(0, 3) == 0;
  return axis;
}

bool Attends(const NeighborhoodGrid& grid, std::int64_t i, std::int64_t j) {
  for (std::size_t a = grid.axes.size(); a-- > 0;) {
    const NeighborhoodAxis& axis = grid.axes[a];
    const std::int64_t x = i % axis.length, y = j % axis.length;
    const Range seen = axis.Seen(x % axis.dilation, x / axis.dilation);
    if (x % axis.dilation != y % axis.dilation || y / axis.dilation < seen.begin ||
        y / axis.dilation >= seen.end) {
      return false;
    }
    i /= axis.length;
    j /= axis.length;
  }
  return true;
}

// Every token has one place, and places see each other as their tokens do.
void ExpectSameMask(const NeighborhoodGrid& grid, const TokenOrder& order, std::mt19937& random) {
  const std::int64_t places = std::ssize(order.tokens);
  std::vector<std::int64_t> tokens = order.tokens;
  std::erase(tokens, -1);
  std::sort(tokens.begin(), tokens.end());
  std::vector<std::int64_t> all(grid.tokens());
  std::iota(all.begin(), all.end(), std::int64_t{0});
  ASSERT_EQ(tokens, all);
  const AttentionShape shape{places, places};
  for (std::int64_t row = 0; row < places; ++row) {
    for (std::int64_t key = 0; key < places; ++key) {
      const std::int64_t i = order.tokens[row], j = order.tokens[key];
      ASSERT_EQ(order.pattern->Attends(shape, row, key), i >= 0 && j >= 0 && Attends(grid, i, j))
          << "row " << row << " key " << key;
    }
  }
  ExpectPatternHolds(order.pattern, shape, random);
}

TEST(NeighborhoodOrder, SaysTheSameAsTheGrid) {
  std::mt19937 random(1);
  const std::vector<std::vector<std::int64_t>> shapes = {{50},      {9, 13},    {12, 12}, {30, 4},
                                                         {5, 6, 7}, {3, 17, 4}, {6, 6, 6}};
  const std::vector<BoxSides> boxes[] = {{{64}, {5}, {16}},
                                         {{8, 8}, {4, 4}, {2, 32}, {3, 5}},
                                         {{4, 4, 4}, {1, 2, 2}, {2, 8, 4}, {3, 3, 3}}};
  for (const auto& lengths : shapes) {
    for (const BoxSides& box : boxes[lengths.size() - 1]) {
      for (int draw = 0; draw < 2; ++draw) {
        NeighborhoodGrid grid;
        for (const std::int64_t length : lengths) grid.axes.push_back(RandomAxis(length, random));
        SCOPED_TRACE(grid.ShapeText());
        ExpectSameMask(grid, *MakeTiledOrder(grid, box), random);
        if (const auto order = TiledOrder(grid)) ExpectSameMask(grid, *order, random);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Positions of an independent implementation.
TEST(NeighborhoodOrder, GoldenPermutations) {
  const GoldenFile file("gna");
  for (int i = 0; i < 4; ++i) {
    const auto record = file.Record("perm" + std::to_string(i));
    SCOPED_TRACE(record.dump());
    NeighborhoodGrid grid;
    for (std::size_t a = 0; a < record["shape"].size(); ++a) {
      grid.axes.push_back({.length = record["shape"][a], .dilation = record["dilation"][a]});
    }
    const std::vector<std::int32_t> index = file.Integers("perm" + std::to_string(i) + ".index");
    EXPECT_EQ(MakeTiledOrder(grid, record["tile"])->tokens,
              std::vector<std::int64_t>(index.begin(), index.end()));
  }
}

TEST(NeighborhoodOrder, IsThereWhereItHelps) {
  const auto order = [](std::string_view spec, std::int64_t tokens) {
    return ParseAttentionSpec(spec).At(0, 0).pattern->Order({tokens, tokens});
  };
  EXPECT_EQ(order("neighborhood:shape=4096,window=512", 4096), nullptr);
  EXPECT_EQ(order("neighborhood:shape=64x64,window=64x64", 4096), nullptr);
  EXPECT_NE(order("neighborhood:shape=4096,window=64,dilation=16", 4096), nullptr);
  EXPECT_NE(order("neighborhood:shape=64x64,window=16x64", 4096), nullptr);
  EXPECT_NE(order("neighborhood:shape=64x64,window=8", 4096), nullptr);
  const PatternPtr pattern =
      ParseAttentionSpec("neighborhood:shape=64x64,window=8,causal=1").At(0, 0).pattern;
  EXPECT_EQ(pattern->Order({1, 4096}), nullptr);
}

// Strides and windows of whole tiles: as many tiles as pairs need, none of them partial.
TEST(NeighborhoodOrder, PerfectlySparseSettingsHaveNoPartialTiles) {
  for (const auto& [spec, tokens] :
       {std::pair{"neighborhood:shape=64x64,window=16x16,stride=16x16", 4096},
        {"neighborhood:shape=30x48x80,window=18x24x24,stride=16x8x8", 115200},
        {"neighborhood:shape=256x256,window=80x80,stride=16x16", 65536}}) {
    SCOPED_TRACE(spec);
    const AttentionSpec parsed = ParseAttentionSpec(spec);
    const Schedule schedule = OrderedSchedule(parsed.At(0, 0).pattern, {tokens, tokens});
    EXPECT_GT(schedule.full_tiles(), 0);
    EXPECT_EQ(schedule.partial_tiles(), 0);
  }
}

}  // namespace
}  // namespace foveate
