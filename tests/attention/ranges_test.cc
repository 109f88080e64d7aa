#include "attention/ranges.h"

#include <gtest/gtest.h>

#include <random>

namespace foveate {
namespace {

constexpr std::int64_t kUniverse = 40;

std::vector<bool> Elements(const Ranges& set) {
  std::vector<bool> elements(kUniverse);
  for (const Range& range : set) {
    for (std::int64_t value = range.begin; value < range.end; ++value) elements[value] = true;
  }
  return elements;
}

void ExpectNormal(const Ranges& set) {
  for (std::size_t i = 0; i < set.size(); ++i) {
    EXPECT_LT(set[i].begin, set[i].end);
    if (i > 0) {
      EXPECT_LT(set[i - 1].end, set[i].begin);
    }
  }
}

Ranges Random(std::mt19937& random) {
  std::uniform_int_distribution<std::int64_t> value(0, kUniverse), count(0, 6);
  Ranges ranges(count(random));
  for (Range& range : ranges) range = {value(random), value(random)};
  return ranges;
}

TEST(Ranges, AlgebraAgreesWithSetsOfElements) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const Ranges raw_a = Random(random), raw_b = Random(random);
    const Ranges a = Normalised(raw_a), b = Normalised(raw_b);
    const Ranges both = Intersection(a, b), either = Union(a, b);
    for (const Ranges* set : {&a, &b, &both, &either}) ExpectNormal(*set);
    ASSERT_EQ(Elements(a), Elements(raw_a));
    std::int64_t size = 0;
    for (std::int64_t value = 0; value < kUniverse; ++value) {
      const bool in_a = Elements(a)[value], in_b = Elements(b)[value];
      ASSERT_EQ(Elements(both)[value], in_a && in_b);
      ASSERT_EQ(Elements(either)[value], in_a || in_b);
      size += in_a;
    }
    ASSERT_EQ(Size(a), size);
  }
}

TEST(Ranges, TouchingRangesBecomeOne) {
  EXPECT_EQ(Normalised({{4, 6}, {0, 2}, {2, 4}, {9, 9}}), (Ranges{{0, 6}}));
  EXPECT_EQ(Union({{0, 2}}, {{2, 4}}), (Ranges{{0, 4}}));
}

}  // namespace
}  // namespace foveate
