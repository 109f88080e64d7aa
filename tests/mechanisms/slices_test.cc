#include "mechanisms/slices.h"

#include <gtest/gtest.h>

#include "mechanisms/registry.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/random_spec.h"
#include "tests/support/pattern_check.h"

namespace foveate {
namespace {

using testing::Draw;
using testing::MaskOf;

std::vector<Slice> SlicesOfSpec(std::string_view spec, const AttentionShape& shape) {
  return SlicesOf(*ParseAttentionSpec(spec).At(0, 0).pattern, shape);
}

// The mask, again as slices, again as a mask; slices do not overlap, so their areas are its pairs.
void ExpectRoundTrip(const Pattern& pattern, const AttentionShape& shape) {
  const std::vector<Slice> slices = SlicesOf(pattern, shape);
  const PatternPtr again = MakeSlices(slices);
  again->Check(shape);
  const auto mask = MaskOf(pattern, shape);
  ASSERT_EQ(MaskOf(*again, shape), mask);
  std::int64_t area = 0, pairs = 0;
  for (const Slice& slice : slices) area += slice.Area();
  for (const auto& row : mask) pairs += std::count(row.begin(), row.end(), true);
  ASSERT_EQ(area, pairs);
}

TEST(Slices, OfEveryMechanismGiveTheSameMask) {
  Draw draw{std::mt19937(5)};
  for (const Mechanism& mechanism : Mechanisms()) {
    if (mechanism.pattern == nullptr) continue;
    for (int round = 0; round < 30; ++round) {
      const AttentionShape shape = testing::RandomShape(mechanism, draw);
      const auto spec = testing::SpecDraw(mechanism, shape, draw)();
      if (!spec) continue;
      SCOPED_TRACE(spec->dump());
      ExpectRoundTrip(*ParseAttentionSpec(spec->dump()).At(0, 0).pattern, shape);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Slices, OfARandomMatrixGiveItBack) {
  Draw draw{std::mt19937(6)};
  for (int round = 0; round < 100; ++round) {
    const AttentionShape shape{draw(1, 40), draw(1, 100)};
    std::vector<std::uint8_t> mask(shape.queries * shape.keys);
    const std::int64_t often = draw(1, 12);
    for (std::uint8_t& element : mask) element = draw(0, often) == 0 ? 0 : 1;
    const PatternPtr pattern = MakeSlices(SlicesOf(mask.data(), shape));
    for (std::int64_t row = 0; row < shape.queries; ++row) {
      for (std::int64_t key = 0; key < shape.keys; ++key) {
        ASSERT_EQ(pattern->Attends(shape, row, key), mask[row * shape.keys + key] != 0);
      }
    }
  }
}

TEST(Slices, AreFewForTheMasksInUse) {
  EXPECT_EQ(SlicesOfSpec("full", {9, 9}).size(), 1u);
  EXPECT_EQ(SlicesOfSpec("causal", {5, 9}),
            (std::vector<Slice>{{{0, 5}, {0, 9}, SliceType::kCausal}}));
  EXPECT_EQ(SlicesOfSpec("window:left=3,right=2", {20, 20}).size(), 3u);
  EXPECT_EQ(SlicesOfSpec("document_causal:cu=0/5/6/12", {12, 12}).size(), 3u);
  EXPECT_EQ(SlicesOfSpec("prefix_lm:prefix=4", {10, 10}).size(), 2u);
}

}  // namespace
}  // namespace foveate
