// The patterns whose rows see a few runs of keys that only ever move forward from row to row:
// windows, prefixes, documents. Such a pattern states its runs; everything else follows from their
// ends, because what a band of rows sees is known from its first and last row.
#pragma once

#include <cstdint>

#include "attention/pattern.h"

namespace foveate {

class BandPattern : public Pattern {
 public:
  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override;
  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override;
  Coverage Cover(const AttentionShape& shape, Range rows) const override;

 protected:
  virtual int Bands(const AttentionShape& shape) const;  // 1 unless overridden

  // Run `band` of a row's keys. From row to row neither end may decrease, also where the run is
  // empty; it may reach beyond [0, keys).
  virtual Range Band(const AttentionShape& shape, std::int64_t row, int band) const = 0;
};

// Bit k is set for first_key + k within the range.
std::uint64_t BitsOf(Range keys, std::int64_t first_key);

}  // namespace foveate
