#include "mechanisms/slices.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "attention/band_pattern.h"
#include "base/throw.h"

namespace foveate {
namespace {

bool CutsRight(SliceType type) {
  return type == SliceType::kCausal || type == SliceType::kBiCausal;
}
bool CutsLeft(SliceType type) {
  return type == SliceType::kInvCausal || type == SliceType::kBiCausal;
}

class SlicePattern final : public Pattern {
 public:
  explicit SlicePattern(std::vector<Slice> slices) : slices_(std::move(slices)) {
    std::sort(slices_.begin(), slices_.end(),
              [](const Slice& a, const Slice& b) { return a.rows.begin < b.rows.begin; });
    std::int64_t end = 0;
    for (const Slice& slice : slices_) {
      end = std::max(end, slice.rows.end);
      ends_.push_back(end);
      last_key_ = std::max(last_key_, slice.keys.end);
    }
  }

  void Check(const AttentionShape& shape) const override {
    const std::int64_t last_row = ends_.empty() ? 0 : ends_.back();
    if (last_row > shape.queries || last_key_ > shape.keys) {
      Throw(ErrorCode::kInvalidArgument,
            "slices: they reach row {} and key {}, but the call has {} rows and {} keys", last_row,
            last_key_, shape.queries, shape.keys);
    }
  }

  bool Attends(const AttentionShape&, std::int64_t row, std::int64_t key) const override {
    bool attends = false;
    ForEach({row, row + 1}, [&](const Slice& slice) {
      const Range keys = slice.Keys(row);
      attends = attends || (keys.begin <= key && key < keys.end);
    });
    return attends;
  }

  std::uint64_t Bits(const AttentionShape&, std::int64_t row,
                     std::int64_t first_key) const override {
    std::uint64_t bits = 0;
    ForEach({row, row + 1},
            [&](const Slice& slice) { bits |= BitsOf(slice.Keys(row), first_key); });
    return bits;
  }

  Coverage Cover(const AttentionShape&, Range rows) const override {
    Coverage cover;
    ForEach(rows, [&](const Slice& slice) {
      const Range inside = Intersect(rows, slice.rows);
      const Range first = slice.Keys(inside.begin), last = slice.Keys(inside.end - 1);
      cover.any.push_back({first.begin, last.end});
      if (inside == rows) cover.all.push_back({last.begin, first.end});
    });
    cover.any = Normalised(std::move(cover.any));
    cover.all = Normalised(std::move(cover.all));
    return cover;
  }

 private:
  // Those with a row in `rows`: walks back from the last that begins before its end.
  template <typename Visit>
  void ForEach(Range rows, Visit visit) const {
    auto next = std::lower_bound(
        slices_.begin(), slices_.end(), rows.end,
        [](const Slice& slice, std::int64_t row) { return slice.rows.begin < row; });
    while (next != slices_.begin() && ends_[next - slices_.begin() - 1] > rows.begin) {
      --next;
      if (!Intersect(rows, next->rows).empty()) visit(*next);
    }
  }

  std::vector<Slice> slices_;       // by their first row
  std::vector<std::int64_t> ends_;  // the largest end of rows up to each
  std::int64_t last_key_ = 0;
};

// Slices that grow row by row. `Row` gets the runs of the next row and `Finish` the rest.
class SliceBuilder {
 public:
  void Row(std::int64_t row, const Ranges& runs) {
    std::vector<Open> open;
    auto old = open_.begin();
    for (const Range& run : runs) {
      // One that ends too early for this run fits no later one either.
      while (old != open_.end() && old->last.end + 1 < run.end) Close(*old++);
      if (old != open_.end() && Grow(*old, run)) {
        open.push_back(*old++);
      } else {
        open.push_back({{{row, 0}, run, SliceType::kFull}, run, true});
      }
      open.back().slice.rows.end = row + 1;
    }
    for (; old != open_.end(); ++old) Close(*old);
    open_ = std::move(open);
  }

  std::vector<Slice> Finish() {
    for (const Open& open : open_) Close(open);
    std::sort(slices_.begin(), slices_.end(), [](const Slice& a, const Slice& b) {
      return std::pair(a.rows.begin, a.keys.begin) < std::pair(b.rows.begin, b.keys.begin);
    });
    return std::move(slices_);
  }

 private:
  struct Open {
    Slice slice;
    Range last;           // the run of its last row
    bool one_row = true;  // which way its ends move is not known yet
  };

  // Whether the run of the next row continues the slice; then it does.
  static bool Grow(Open& open, Range run) {
    const std::int64_t left = run.begin - open.last.begin, right = run.end - open.last.end;
    if (left < 0 || left > 1 || right < 0 || right > 1) return false;
    const auto type = static_cast<SliceType>(right + 2 * left);
    if (!open.one_row && type != open.slice.type) return false;
    open.slice.type = type;
    open.slice.keys.end = run.end;
    open.last = run;
    open.one_row = false;
    return true;
  }

  void Close(const Open& open) { slices_.push_back(open.slice); }

  std::vector<Open> open_;  // by their keys
  std::vector<Slice> slices_;
};

}  // namespace

Range Slice::Keys(std::int64_t row) const {
  Range seen = keys;
  if (CutsRight(type)) seen.end = std::min(seen.end, row + 1 + keys.end - rows.end);
  if (CutsLeft(type)) seen.begin = std::max(seen.begin, row + keys.begin - rows.begin);
  // Kept in order, so that the ends never decrease from row to row.
  seen.end = std::max(seen.end, keys.begin);
  seen.begin = std::min(seen.begin, keys.end);
  return seen;
}

std::int64_t Slice::Area() const {
  const std::int64_t h = rows.size(), w = keys.size();
  switch (type) {
    case SliceType::kFull: return h * w;
    case SliceType::kCausal:
    case SliceType::kInvCausal: return h <= w ? h * (2 * w - h + 1) / 2 : w * (w + 1) / 2;
    case SliceType::kBiCausal: return h * std::max<std::int64_t>(0, w - h + 1);
  }
  return 0;
}

PatternPtr MakeSlices(std::vector<Slice> slices) {
  return std::make_shared<SlicePattern>(std::move(slices));
}

Ranges KeysOfRow(const Pattern& pattern, const AttentionShape& shape, std::int64_t row) {
  Coverage cover = pattern.Cover(shape, {row, row + 1});
  if (cover.all == cover.any) return std::move(cover.any);
  Ranges keys = std::move(cover.all);
  for (const Range& range : cover.any) {
    for (std::int64_t first = range.begin; first < range.end; first += 64) {
      std::uint64_t bits = pattern.Bits(shape, row, first);
      while (bits != 0) {
        const int begin = __builtin_ctzll(bits);
        const std::uint64_t rest = ~(bits >> begin);
        const int size = rest == 0 ? 64 : __builtin_ctzll(rest);
        keys.push_back({first + begin, first + begin + size});
        bits = begin + size >= 64 ? 0 : bits >> (begin + size) << (begin + size);
      }
    }
  }
  return Normalised(std::move(keys));
}

std::vector<Slice> SlicesOf(const Pattern& pattern, const AttentionShape& shape) {
  SliceBuilder builder;
  for (std::int64_t row = 0; row < shape.queries; ++row) {
    builder.Row(row, KeysOfRow(pattern, shape, row));
  }
  return builder.Finish();
}

std::vector<Slice> SlicesOf(const std::uint8_t* mask, const AttentionShape& shape) {
  SliceBuilder builder;
  for (std::int64_t row = 0; row < shape.queries; ++row) {
    const std::uint8_t* line = mask + row * shape.keys;
    Ranges runs;
    for (std::int64_t key = 0; key < shape.keys;) {
      const std::int64_t begin = key;
      while (key < shape.keys && (line[key] != 0) == (line[begin] != 0)) ++key;
      if (line[begin] != 0) runs.push_back({begin, key});
    }
    builder.Row(row, runs);
  }
  return builder.Finish();
}

}  // namespace foveate
