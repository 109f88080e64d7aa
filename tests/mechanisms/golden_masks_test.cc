// Masks made by an independent float64 reference from the published definitions.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "attention/schedule.h"
#include "format/safetensors.h"
#include "mechanisms/slices.h"
#include "mechanisms/spec.h"
#include "tests/support/pattern_check.h"

namespace foveate {
namespace {

using nlohmann::json;

SafetensorsFile Golden(const std::string& name) {
  return SafetensorsFile::Open(std::string(FOVEATE_TEST_DATA) + "/" + name + ".safetensors");
}

// What of a record is the spec: all but the sizes of the call and what was counted.
json SpecOf(const json& record) {
  json spec;
  for (const auto& [key, value] : record.items()) {
    const std::vector<std::string> other = {"N", "M",     "H",          "Hkv",
                                            "D", "pairs", "empty_rows", "attended_pairs"};
    if (std::find(other.begin(), other.end(), key) == other.end()) spec[key] = value;
  }
  return spec;
}

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
  const SafetensorsFile file = Golden("masks");
  int cases = 0;
  for (const auto& [name, text] : file.metadata()) {
    if (name.size() != 3 || name[0] != 'c') continue;
    const json record = json::parse(text);
    ExpectMask(SpecOf(record), {record["N"], record["M"]}, file.FindTensor(name + ".m"),
               record["pairs"]);
    ++cases;
  }
  EXPECT_EQ(cases, 29);
}

TEST(GoldenMasks, PowerAttentionGivesTheSameMask) {
  const SafetensorsFile file = Golden("powerattention");
  int cases = 0;
  for (const auto& [name, text] : file.metadata()) {
    if (name.size() != 3 || name[0] != 'c') continue;
    const json record = json::parse(text);
    json spec = SpecOf(record);
    spec["kind"] = "power";
    ExpectMask(spec, {record["N"], record["M"]}, file.FindTensor(name + ".mask"),
               record["attended_pairs"]);
    ++cases;
  }
  EXPECT_EQ(cases, 5);
}

}  // namespace
}  // namespace foveate
