// Sets of integers as sorted, disjoint, non-touching half-open ranges.
#pragma once

#include <cstdint>
#include <vector>

namespace foveate {

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  bool empty() const { return begin >= end; }
  std::int64_t size() const { return empty() ? 0 : end - begin; }
  bool operator==(const Range&) const = default;
};

inline Range Intersect(Range a, Range b) {
  return {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
}

using Ranges = std::vector<Range>;

// The set that the ranges cover together; they may come in any order, overlap or be empty.
Ranges Normalised(Ranges ranges);

// Of two sets in normal form.
Ranges Union(const Ranges& a, const Ranges& b);
Ranges Intersection(const Ranges& a, const Ranges& b);

// The number of integers in a set.
std::int64_t Size(const Ranges& set);

}  // namespace foveate
