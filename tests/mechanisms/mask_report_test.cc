#include "mechanisms/mask_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "format/safetensors.h"
#include "mechanisms/registry.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/random_spec.h"
#include "tests/support/pattern_check.h"

namespace foveate {
namespace {

using testing::Mask;

PatternPtr PatternOf(std::string_view spec) { return ParseAttentionSpec(spec).At(0, 0).pattern; }

TileKind KindOf(const Mask& mask, Range rows, Range keys) {
  std::int64_t seen = 0;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    for (std::int64_t key = keys.begin; key < keys.end; ++key) seen += mask[row][key];
  }
  if (seen == 0) return TileKind::kEmpty;
  return seen == rows.size() * keys.size() ? TileKind::kFull : TileKind::kPartial;
}

TEST(MaskReport, CountsOfEveryMechanismAgreeWithTheMask) {
  testing::Draw draw{std::mt19937(8)};
  for (const Mechanism& mechanism : Mechanisms()) {
    if (mechanism.pattern == nullptr) continue;
    for (int round = 0; round < 10; ++round) {
      const AttentionShape shape = testing::RandomShape(mechanism, draw);
      const auto spec = testing::SpecDraw(mechanism, shape, draw)();
      if (!spec) continue;
      SCOPED_TRACE(spec->dump());
      const PatternPtr pattern = PatternOf(spec->dump());
      const Mask mask = testing::MaskOf(*pattern, shape);
      std::int64_t pairs = 0, empty = 0;
      for (const auto& row : mask) {
        const std::int64_t seen = std::count(row.begin(), row.end(), true);
        pairs += seen;
        empty += seen == 0;
      }
      const MaskPairs count = CountPairs(Schedule(pattern, shape));
      ASSERT_TRUE(count.exact);
      ASSERT_EQ(count.pairs, pairs);
      ASSERT_EQ(count.empty_rows, empty);

      const std::int64_t tile = draw(1, 64);
      const TileGrid grid = MakeTileGrid(*pattern, shape, tile);
      TileCounts expected;
      std::int64_t line = 0;
      for (std::int64_t row = 0; row < shape.queries; ++line) {
        const Range rows = RowTile(shape, row, tile);
        for (std::int64_t c = 0; c < grid.columns; ++c) {
          const TileKind kind =
              KindOf(mask, rows, {c * tile, std::min((c + 1) * tile, shape.keys)});
          ASSERT_EQ(grid.At(line, c), kind) << "tile " << line << ", " << c << " of " << tile;
          expected.full += kind == TileKind::kFull;
          expected.partial += kind == TileKind::kPartial;
          ++expected.total;
        }
        row = rows.end;
      }
      const TileCounts counts = CountTiles(*pattern, shape, tile);
      ASSERT_EQ(counts.full, expected.full);
      ASSERT_EQ(counts.partial, expected.partial);
      ASSERT_EQ(counts.total, expected.total);
    }
  }
}

TEST(MaskReport, PairsOfLongCallsAreEstimatedClosely) {
  // N stride^-1 / 2 slashes per row, of which a sample is counted.
  const AttentionShape shape{400'000, 400'000};
  const Schedule schedule(PatternOf("stride_slash:window=1,stride=1024,sink=0"), shape);
  const MaskPairs count = CountPairs(schedule);
  double expected = 0;
  for (std::int64_t i = 0; i < shape.queries; ++i) expected += static_cast<double>(1 + i / 1024);
  EXPECT_FALSE(count.exact);
  EXPECT_NEAR(static_cast<double>(count.pairs) / expected, 1.0, 0.01);
}

// The table of reach that comes with the masks of PowerAttention.
TEST(MaskReport, PowerAttentionReachesWhatItsTableSays) {
  const SafetensorsFile file =
      SafetensorsFile::Open(std::string(FOVEATE_TEST_DATA) + "/powerattention.safetensors");
  const auto table = nlohmann::json::parse(file.metadata().at("reach"));
  ASSERT_GT(table.size(), 3u);
  for (const auto& row : table) {
    const std::int64_t blocks = row["blocks"], window = row["window_blocks"],
                       sink = row["sink_blocks"];
    const PatternPtr power =
        PatternOf(fmt::format("power:block=1,window_blocks={},sink_blocks={}", window, sink));
    const std::vector<std::int64_t> expected = row["reach_per_layer"];
    EXPECT_EQ(ReachPerLayer(*power, blocks, 1, 100), expected);
    EXPECT_EQ(expected.front(), row["last_row_blocks"]);
    const TileCounts counts = CountTiles(*power, {blocks, blocks}, 1);
    EXPECT_EQ(counts.full, row["active_tiles"]);
    // The same in blocks of more than one token.
    const PatternPtr blocked =
        PatternOf(fmt::format("power:block=8,window_blocks={},sink_blocks={}", window, sink));
    EXPECT_EQ(ReachPerLayer(*blocked, blocks * 8, 8, 100), expected);
    // A window of the same size, and the sinks.
    const PatternPtr sliding =
        PatternOf(fmt::format("sink_window:sink={},left={}", sink, window - 1));
    const std::vector<std::int64_t> reach = ReachPerLayer(*sliding, blocks, 1, 1000);
    if (row["sliding_layers_to_cover"].is_null()) {
      EXPECT_LT(reach.empty() ? 1 : reach.back(), blocks);
    } else {
      EXPECT_EQ(std::ssize(reach), row["sliding_layers_to_cover"]);
    }
  }
}

TEST(MaskReport, SpeedupIsThatOfTakingItemsInOrder) {
  // Four items of 4, 3, 2 and 1 tiles.
  const Schedule schedule(PatternOf("causal"), {256, 256});
  EXPECT_DOUBLE_EQ(Speedup(schedule, 1), 1.0);
  EXPECT_DOUBLE_EQ(Speedup(schedule, 2), 2.0);
  EXPECT_DOUBLE_EQ(Speedup(schedule, 8), 2.5);
  EXPECT_DOUBLE_EQ(Speedup(Schedule(PatternOf("causal"), {0, 0}), 3), 1.0);
}

}  // namespace
}  // namespace foveate
