#include "attention/schedule.h"

#include <gtest/gtest.h>

#include <random>

#include "attention/band_pattern.h"
#include "base/throw.h"
#include "tests/support/build_kind.h"
#include "tests/support/pattern_check.h"
#include "tests/support/speed.h"

namespace foveate {
namespace {

using testing::ExpectKeptHolds;
using testing::ExpectPatternHolds;
using testing::Mask;
using testing::MaskOf;

// The first `sink` keys, and keys i - left .. i + right.
class SinkAndWindow final : public BandPattern {
 public:
  SinkAndWindow(std::int64_t sink, std::int64_t left, std::int64_t right)
      : sink_(sink), left_(left), right_(right) {}
  std::optional<KeptKeys> Kept() const override { return KeptKeys{sink_, left_}; }

 protected:
  int Bands(const AttentionShape&) const override { return 2; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    return band == 0 ? Range{0, sink_} : Range{i - left_, i + right_ + 1};
  }

 private:
  std::int64_t sink_, left_, right_;
};

// Any mask at all, with a cover that is exact or, by half, sloppy.
class AnyMask final : public Pattern {
 public:
  AnyMask(Mask mask, bool sloppy) : mask_(std::move(mask)), sloppy_(sloppy) {}

  bool Attends(const AttentionShape&, std::int64_t row, std::int64_t key) const override {
    return mask_[row][key];
  }
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    Coverage cover;
    for (std::int64_t key = 0; key < shape.keys; ++key) {
      bool every = true, some = false;
      for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        every = every && mask_[row][key];
        some = some || mask_[row][key];
      }
      const bool careless = sloppy_ && key % 2 == 0;
      if (every && !careless) cover.all.push_back({key, key + 1});
      if (some || careless) cover.any.push_back({key, key + 1});
    }
    return {Normalised(cover.all), Normalised(cover.any)};
  }

 private:
  Mask mask_;
  bool sloppy_;
};

struct Draw {
  std::mt19937 random;
  std::int64_t operator()(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  }
};

// Blocks of ones in noise, so that full, partial and empty tiles all occur.
PatternPtr RandomMask(Draw& draw, const AttentionShape& shape) {
  Mask mask(shape.queries, std::vector<bool>(shape.keys, draw(0, 1) == 1));
  const std::int64_t side = draw(1, 90);
  for (std::int64_t row = 0; row < shape.queries; row += side) {
    for (std::int64_t key = 0; key < shape.keys; key += side) {
      const std::int64_t kind = draw(0, 2);
      for (std::int64_t r = row; r < std::min(row + side, shape.queries); ++r) {
        for (std::int64_t k = key; k < std::min(key + side, shape.keys); ++k) {
          mask[r][k] = kind == 2 ? draw(0, 1) == 1 : kind == 1;
        }
      }
    }
  }
  return std::make_shared<AnyMask>(std::move(mask), draw(0, 1) == 1);
}

PatternPtr RandomPattern(Draw& draw, const AttentionShape& shape, int depth) {
  if (depth > 0 && draw(0, 1) == 1) {
    const PatternPtr a = RandomPattern(draw, shape, depth - 1);
    const PatternPtr b = RandomPattern(draw, shape, depth - 1);
    return draw(0, 1) == 1 ? And(a, b) : Or(a, b);
  }
  if (draw(0, 2) == 0) return RandomMask(draw, shape);
  return std::make_shared<SinkAndWindow>(draw(0, 80), draw(-100, 100), draw(-100, 100));
}

TEST(Schedule, RandomPatternsAgreeWithTheirDefinition) {
  Draw draw{std::mt19937(1)};
  for (int round = 0; round < 150; ++round) {
    const AttentionShape shape{draw(0, 150), draw(0, 300)};
    SCOPED_TRACE(fmt::format("round {} n{} m{}", round, shape.queries, shape.keys));
    ExpectPatternHolds(RandomPattern(draw, shape, 3), shape, draw.random);
    if (HasFatalFailure()) return;
  }
}

TEST(Schedule, TilesOfAnySizeAreClassifiedExactlyFromAnExactCover) {
  Draw draw{std::mt19937(2)};
  for (int round = 0; round < 200; ++round) {
    const AttentionShape shape{draw(1, 16), draw(1, 90)};
    // A window of a key at least: of empty ones the cover would be sloppy.
    const std::int64_t left = draw(-3, 40);
    const SinkAndWindow pattern(0, left, draw(-left, 40));
    const std::int64_t tile = draw(1, 16);
    std::vector<TileRun> runs;
    AppendTileRuns(pattern.Cover(shape, {0, shape.queries}), tile, runs);
    std::vector<char> kind(shape.keys / tile, 'e');
    for (const TileRun& run : runs) {
      for (std::int64_t t = run.begin; t < std::min(run.end, shape.keys / tile); ++t) {
        kind[t] = run.partial ? 'p' : 'f';
      }
    }
    const Mask mask = MaskOf(pattern, shape);
    for (std::int64_t t = 0; t < shape.keys / tile; ++t) {
      std::int64_t seen = 0;
      for (const auto& row : mask) {
        seen += std::count(row.begin() + t * tile, row.begin() + (t + 1) * tile, true);
      }
      const char expected = seen == 0 ? 'e' : seen == tile * shape.queries ? 'f' : 'p';
      ASSERT_EQ(kind[t], expected) << "round " << round << " tile " << t;
    }
  }
}

TEST(Schedule, APredicateOfTheCallersOwnIsCutToTheKeys) {
  const PatternPtr even = MakePredicate(
      [](std::int64_t position, std::int64_t key) { return (position + key) % 2 == 0; },
      [](Range, std::int64_t keys) {
        return Coverage{{}, {{keys / 2, keys + 9}, {-4, keys / 2 + 1}}};
      });
  std::mt19937 random(3);
  ExpectPatternHolds(even, {70, 130}, random);
}

TEST(Schedule, KeptKeysOfCombinationsAreEnough) {
  Draw draw{std::mt19937(4)};
  for (int round = 0; round < 100; ++round) {
    const auto window = [&] {
      return std::make_shared<SinkAndWindow>(draw(0, 9), draw(0, 9), draw(0, 3));
    };
    ExpectKeptHolds(*And(window(), window()), 30);
    ExpectKeptHolds(*Or(window(), window()), 30);
  }
  const PatternPtr all =
      MakePredicate([](auto, auto) { return true; },
                    [](Range, std::int64_t keys) { return Coverage{{{0, keys}}, {{0, keys}}}; });
  const auto window = std::make_shared<SinkAndWindow>(2, 3, 0);
  EXPECT_FALSE(Or(all, window)->Kept());
  ASSERT_TRUE(And(all, window)->Kept());
  EXPECT_EQ(And(window, all)->Kept()->last, 3);
}

TEST(Schedule, RefusesSizesOutOfRange) {
  const auto window = std::make_shared<SinkAndWindow>(0, 1, 0);
  EXPECT_THROW(Schedule(window, {4, 4}, 0), Error);
  EXPECT_THROW(Schedule(window, {4, 4}, 65), Error);
  EXPECT_THROW(Schedule(window, {-1, 4}), Error);
  EXPECT_THROW(Schedule(window, {4, -1}), Error);
}

// Far below what visiting a million rows, let alone elements, could do.
TEST(Schedule, AMillionPositionsTakeTimeAndMemoryOfTheTilesAlone) {
  constexpr std::int64_t kLength = 1'000'000;
  const auto window = std::make_shared<SinkAndWindow>(4, 1023, 0);
  Schedule schedule;
  const double seconds =
      testing::CpuSeconds([&] { schedule = Schedule(window, {kLength, kLength}); });
  EXPECT_LT(seconds, kFullSpeed ? 2 : 20);
  EXPECT_LT(schedule.bytes(), 200'000'000);
  EXPECT_EQ(schedule.items().size(), 15625u);
}

}  // namespace
}  // namespace foveate
