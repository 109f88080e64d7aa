// Masks made by an independent float64 reference from the published definitions.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "attention/schedule.h"
#include "mechanisms/slices.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/pattern_check.h"

namespace foveate {
namespace {

using nlohmann::json;
using testing::GoldenFile;

void ExpectMask(const json& spec, const AttentionShape& shape, const StoredTensor* mask,
                std::int64_t pairs) {
  SCOPED_TRACE(spec.dump());
  ASSERT_NE(mask, nullptr);
  // By way of the text form.
  const AttentionSpec parsed = ParseAttentionSpec(ToText(ParseAttentionSpec(spec.dump())));
  const PatternPtr pattern = parsed.At(0, 0).pattern;
  pattern->Check(shape);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(mask->bytes.data());
  std::int64_t seen = 0;
  for (std::int64_t row = 0; row < shape.queries; ++row) {
    for (std::int64_t key = 0; key < shape.keys; ++key) {
      const bool attends = pattern->Attends(shape, row, key);
      ASSERT_EQ(attends, bytes[row * shape.keys + key] != 0) << "row " << row << " key " << key;
      seen += attends;
    }
  }
  EXPECT_EQ(seen, pairs);
  std::mt19937 random(1);
  testing::ExpectPatternHolds(pattern, shape, random);
  EXPECT_EQ(SlicesOf(bytes, shape), SlicesOf(*pattern, shape));
}

TEST(GoldenMasks, EveryFamilyGivesTheSameMask) {
  const GoldenFile file("masks");
  for (const auto& [name, record] : file.Cases()) {
    ExpectMask(GoldenFile::SpecOf(record), {record["N"], record["M"]}, file.Find(name + ".m"),
               record["pairs"]);
  }
  EXPECT_EQ(file.Cases().size(), 29u);
}

TEST(GoldenMasks, PowerAttentionGivesTheSameMask) {
  const GoldenFile file("powerattention");
  for (const auto& [name, record] : file.Cases()) {
    json spec = GoldenFile::SpecOf(record);
    spec["kind"] = "power";
    ExpectMask(spec, {record["N"], record["M"]}, file.Find(name + ".mask"),
               record["attended_pairs"]);
  }
  EXPECT_EQ(file.Cases().size(), 5u);
}

}  // namespace
}  // namespace foveate
