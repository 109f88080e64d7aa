// FlashMask: for every key column one or two runs of rows that do not see it, over a causal or full
// base. Wang et al. 2024, "FlashMask" (arXiv 2410.01359): linear memory for most masks in use.
#include <algorithm>
#include <array>
#include <utility>

#include "attention/band_pattern.h"
#include "attention/window_pattern.h"
#include "base/throw.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

// Columns next to each other that are hidden alike.
struct ColumnRun {
  Range columns;
  std::array<Range, 2> hidden;  // positions, apart from each other; empty ones hide nothing
};

class ColumnRanges final : public Pattern {
 public:
  explicit ColumnRanges(const Params& params) {
    const IntegerList& first = params.List("masked_rows");
    const bool two = params.Has("masked_rows_2");
    columns_ = std::ssize(first) / 2;
    if (two && params.List("masked_rows_2").size() != first.size()) {
      Throw(ErrorCode::kInvalidArgument,
            "column_ranges: masked_rows has {} columns and masked_rows_2 {}, expected as many",
            columns_, params.List("masked_rows_2").size() / 2);
    }
    for (std::int64_t column = 0; column < columns_; ++column) {
      Ranges hidden = {Hidden(first, "masked_rows", column)};
      if (two) hidden.push_back(Hidden(params.List("masked_rows_2"), "masked_rows_2", column));
      AddColumn(column, Normalised(std::move(hidden)));
    }
  }

  void Check(const AttentionShape& shape) const override {
    if (columns_ != shape.keys) {
      Throw(ErrorCode::kInvalidArgument,
            "column_ranges: masked_rows has {} columns, but the call has {} keys", columns_,
            shape.keys);
    }
  }

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return (Bits(shape, row, key) & 1) != 0;
  }

  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    const std::int64_t i = shape.Position(row);
    auto run =
        std::upper_bound(runs_.begin(), runs_.end(), first_key,
                         [](std::int64_t key, const ColumnRun& r) { return key < r.columns.end; });
    std::uint64_t bits = 0;
    for (; run != runs_.end() && run->columns.begin < first_key + 64; ++run) {
      if (!HidesAny(*run, {i, i + 1})) bits |= BitsOf(run->columns, first_key);
    }
    return bits;
  }

  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    const Range band{shape.Position(rows.begin), shape.Position(rows.end)};
    Coverage cover;
    for (const ColumnRun& run : runs_) {
      if (!HidesAll(run, band)) cover.any.push_back(run.columns);
      if (!HidesAny(run, band)) cover.all.push_back(run.columns);
    }
    cover.any = Normalised(std::move(cover.any));
    cover.all = Normalised(std::move(cover.all));
    return cover;
  }

 private:
  static Range Hidden(const IntegerList& list, std::string_view key, std::int64_t column) {
    const Range hidden{list[2 * column], list[2 * column + 1]};
    const std::int64_t columns = std::ssize(list) / 2;
    if (hidden.begin > hidden.end || hidden.end > columns) {
      Throw(ErrorCode::kInvalidArgument,
            "column_ranges: {}[{}] is {}x{}, expected a <= b <= {}, the number of keys", key,
            column, hidden.begin, hidden.end, columns);
    }
    return hidden;
  }

  void AddColumn(std::int64_t column, const Ranges& hidden) {
    ColumnRun run{{column, column + 1}, {}};
    std::copy(hidden.begin(), hidden.end(), run.hidden.begin());
    if (!runs_.empty() && runs_.back().hidden == run.hidden) {
      runs_.back().columns.end = run.columns.end;
    } else {
      runs_.push_back(run);
    }
  }

  static bool HidesAny(const ColumnRun& run, Range band) {
    return !Intersect(run.hidden[0], band).empty() || !Intersect(run.hidden[1], band).empty();
  }
  static bool HidesAll(const ColumnRun& run, Range band) {
    return Intersect(run.hidden[0], band) == band || Intersect(run.hidden[1], band) == band;
  }

  std::int64_t columns_ = 0;
  std::vector<ColumnRun> runs_;
};

PatternPtr Make(const Params& params) {
  const PatternPtr columns = std::make_shared<ColumnRanges>(params);
  return params.Bool("causal") ? And(columns, Window(-1, 0)) : columns;
}

}  // namespace

Mechanism column_ranges() {
  return {
      .name = "column_ranges",
      .title = "Hidden rows per key column (FlashMask)",
      .paper = "Wang et al. 2024, arXiv 2410.01359",
      .formula = "(j <= i if causal) and i not in [a_j, b_j)",
      .cost = "the pairs left; a schedule looks at every run of equal columns per row tile",
      .use = "masks from training code that speaks FlashMask",
      .params = {{.key = "causal",
                  .type = ParamType::kBool,
                  .help = "whether keys after the row are hidden"},
                 {.key = "masked_rows",
                  .type = ParamType::kTuples,
                  .help =
                      "for each of the M keys the hidden rows a x b, a <= b <= M; none if a = b",
                  .arity = 2},
                 {.key = "masked_rows_2",
                  .type = ParamType::kTuples,
                  .help = "a second run of hidden rows for each key",
                  .fallback = "none",
                  .arity = 2}},
      .examples = {{"column_ranges:causal=1,masked_rows=4x8/5x5/6x8/3x6/4x4/7x8/6x6/7x7", 8, 8},
                   {"column_ranges:causal=0,masked_rows=0x1/1x2/2x2,masked_rows_2=2x3/2x3/0x1", 3,
                    3}},
      .pattern = Make};
}

}  // namespace foveate::mechanisms
