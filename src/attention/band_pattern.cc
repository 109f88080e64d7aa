#include "attention/band_pattern.h"

#include <algorithm>
#include <utility>

namespace foveate {

std::uint64_t BitsOf(Range keys, std::int64_t first_key) {
  const std::int64_t begin = std::max<std::int64_t>(keys.begin - first_key, 0);
  const std::int64_t end = std::min<std::int64_t>(keys.end - first_key, 64);
  if (begin >= end) return 0;
  return (~std::uint64_t{0} >> (64 - (end - begin))) << begin;
}

int BandPattern::Bands(const AttentionShape&) const { return 1; }

bool BandPattern::Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const {
  const int bands = Bands(shape);
  for (int band = 0; band < bands; ++band) {
    const Range keys = Band(shape, row, band);
    if (keys.begin <= key && key < keys.end) return true;
  }
  return false;
}

std::uint64_t BandPattern::Bits(const AttentionShape& shape, std::int64_t row,
                                std::int64_t first_key) const {
  const int bands = Bands(shape);
  std::uint64_t bits = 0;
  for (int band = 0; band < bands; ++band) bits |= BitsOf(Band(shape, row, band), first_key);
  return bits & BitsOf({0, shape.keys}, first_key);
}

Coverage BandPattern::Cover(const AttentionShape& shape, Range rows) const {
  const Range keys{0, shape.keys};
  const int bands = Bands(shape);
  Coverage cover;
  for (int band = 0; band < bands; ++band) {
    const Range first = Band(shape, rows.begin, band);
    const Range last = Band(shape, rows.end - 1, band);
    cover.all.push_back(Intersect({last.begin, first.end}, keys));
    cover.any.push_back(Intersect({first.begin, last.end}, keys));
  }
  cover.all = Normalised(std::move(cover.all));
  cover.any = Normalised(std::move(cover.any));
  return cover;
}

}  // namespace foveate
