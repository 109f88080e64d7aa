// Slices: the interchange form of masks (MagiAttention). A slice is a rectangle of rows and keys of
// a call of which all, or a part under or over a diagonal, is attended; a mask is the union of its
// slices.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "attention/pattern.h"

namespace foveate {

// The codes of the interchange form. With d = key - row: causal keeps d up to that of the bottom
// right corner, inverse causal d from that of the top left one, bicausal both.
enum class SliceType { kFull = 0, kCausal = 1, kInvCausal = 2, kBiCausal = 3 };

inline constexpr std::string_view kSliceTypeNames[] = {"full", "causal", "invcausal", "bicausal"};

struct Slice {
  Range rows;
  Range keys;
  SliceType type = SliceType::kFull;

  // The keys of a row within `rows`; perhaps none.
  Range Keys(std::int64_t row) const;

  // Pairs within the slice.
  std::int64_t Area() const;

  bool operator==(const Slice&) const = default;
};

// The union of the slices. Its Check refuses slices that reach beyond the call.
PatternPtr MakeSlices(std::vector<Slice> slices);

// Slices without overlaps that make up the mask: runs of keys that stay or move by one from row to
// row. Takes time and memory of the runs.
std::vector<Slice> SlicesOf(const Pattern& pattern, const AttentionShape& shape);

// The same of a matrix, [queries][keys] in rows, nonzero where attended.
std::vector<Slice> SlicesOf(const std::uint8_t* mask, const AttentionShape& shape);

// The keys that a row attends.
Ranges KeysOfRow(const Pattern& pattern, const AttentionShape& shape, std::int64_t row);

}  // namespace foveate
