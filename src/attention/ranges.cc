#include "attention/ranges.h"

#include <algorithm>

namespace foveate {
namespace {

// Appends a range that begins at or after the last one's begin, keeping normal form.
void Extend(Ranges& set, Range range) {
  if (range.empty()) return;
  if (!set.empty() && range.begin <= set.back().end) {
    set.back().end = std::max(set.back().end, range.end);
  } else {
    set.push_back(range);
  }
}

bool BeginsEarlier(const Range& a, const Range& b) { return a.begin < b.begin; }

}  // namespace

Ranges Normalised(Ranges ranges) {
  if (!std::is_sorted(ranges.begin(), ranges.end(), BeginsEarlier)) {
    std::sort(ranges.begin(), ranges.end(), BeginsEarlier);
  }
  Ranges set;
  set.reserve(ranges.size());
  for (const Range& range : ranges) Extend(set, range);
  return set;
}

Ranges Union(const Ranges& a, const Ranges& b) {
  Ranges set;
  set.reserve(a.size() + b.size());
  auto next_a = a.begin();
  auto next_b = b.begin();
  while (next_a != a.end() || next_b != b.end()) {
    const bool take_a = next_b == b.end() || (next_a != a.end() && BeginsEarlier(*next_a, *next_b));
    Extend(set, take_a ? *next_a++ : *next_b++);
  }
  return set;
}

Ranges Intersection(const Ranges& a, const Ranges& b) {
  Ranges set;
  auto next_a = a.begin();
  auto next_b = b.begin();
  while (next_a != a.end() && next_b != b.end()) {
    Extend(set, Intersect(*next_a, *next_b));
    // The one that ends first can meet nothing more.
    if (next_a->end < next_b->end) {
      ++next_a;
    } else {
      ++next_b;
    }
  }
  return set;
}

std::int64_t Size(const Ranges& set) {
  std::int64_t size = 0;
  for (const Range& range : set) size += range.size();
  return size;
}

}  // namespace foveate
