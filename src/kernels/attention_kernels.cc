// The attention tile kernel.
//
// Shape: R query rows (tokens times the heads of a group) by 256 keys of one KV head, per call.
// FLOPs: 2 R 256 (D + Dv) for the two products, some 20 vector operations per kLanes scores for the
// softmax: a tenth of the products at D = 64.
// Bytes: 256 (D + Dv) stored elements of the cache, once for all rows; scores, a converted page and
// the output stay in L2 (96 rows, D = 64: 104 + 16 + 24 KiB).
//
// Registers (AVX2, 16): blocks of 6 rows by 2 vectors are 12 sums, 2 of the page, 1 broadcast. With
// 32 registers (AVX-512, NEON) 24 sums.
//
// Two ways to read a page, equal bit for bit:
//   - many rows (prefill): widened once into panels of 16 columns, so that a register block streams
//     contiguous memory, then used by all row blocks while it is in L1 (per panel for large D);
//   - up to 8 rows (decode): straight from the stored type, up to 4 rows at a time, each element
//     widened in a register and used for all heads of the group; nothing is written but scores.
//
// What profiling taught (AVX2, Zen 3, one thread; as shares of a loop of multiply-adds and of a
// plain sum over as much memory, in the same process):
//   - Prefill, f16: 0.65 of the peak at D = 64, 9/3 heads, 0.74 at D = 256, 4/1 heads, 2048 tokens.
//     The micro-GEMM itself runs at 0.86; softmax takes an eighth of the time, widening pages less
//     than a tenth. It loses where a group has few rows: short chunks of few heads.
//   - Decode at depth 4096, f16: 0.74 of the bandwidth with 9/3 heads, 0.72 with 4/1 and D = 256,
//     0.79 with 8/8. Three steps led there from 0.3: keys and values of a piece lie in the order in
//     which they are read; prefetching follows that order, not the strides of the register blocks;
//     memory comes in huge pages. q8_0 takes about as long as f16: its multiplication by the scale
//     in front of each multiply-add makes it compute-bound.
//   - Three rows by four vectors fit into 16 registers only if the broadcasts stay and the page
//     passes by; the other way round one sum lives in memory.
#include "kernels/attention_kernels.h"

#include <algorithm>

#include "kernels/isa_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention_gemm-inl.h"
#include "kernels/attention_softmax-inl.h"
#include "kernels/attention_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// Rows of one register block of the packed path; a divisor of kRowStep.
inline constexpr int kTileRows = FOVEATE_PLAIN_LOOPS ? 3 : 6;
static_assert(kRowStep % kTileRows == 0);

// Everything one call works on.
struct Task {
  const PageLayout& layout;
  const AttentionRows& rows;
  const AttentionPiece& piece;
  const SoftmaxState& state;
  float* scores;  // [rows][kScoreStride]
  float* page;    // a converted page
  float* scales;  // a page's q8_0 scales

  std::int64_t columns() const { return piece.pages * kPageKeys; }

  // The columns that a row sees; as rows advance, both ends do.
  Columns Visible(std::int64_t row) const {
    const std::int64_t last = rows.first_position + row / rows.group - piece.first_key;
    const std::int64_t first = rows.window > 0 ? last - rows.window + 1 : 0;
    return {std::max<std::int64_t>(first, 0), std::clamp<std::int64_t>(last + 1, 0, columns())};
  }
  // The columns that any of `count` rows from `row` on sees.
  Columns Visible(std::int64_t row, std::int64_t count) const {
    const std::int64_t last = std::min(row + count, rows.count) - 1;
    return {Visible(row).begin, Visible(last).end};
  }
};

// What [begin, end) of a piece is in one of its pages, in columns of that page.
HWY_INLINE Columns InPage(Columns columns, std::int64_t page) {
  const std::int64_t first = page * kPageKeys;
  return {std::max(columns.begin, first) - first, std::min(columns.end, first + kPageKeys) - first};
}

HWY_INLINE GemmRows ScoreRows(const Task& task, std::int64_t row, std::int64_t page) {
  const std::int64_t dim = task.layout.key_dim;
  return {task.rows.queries + row * dim,
          dim,
          task.scores + row * kScoreStride + page * kPageKeys,
          kScoreStride,
          dim,
          false};
}

// Rows from `row` on times the keys `visible` in a page; the first product overwrites.
HWY_INLINE GemmRows ValueRows(const Task& task, std::int64_t row, std::int64_t page,
                              Columns visible) {
  const Columns keys = InPage(visible, page);
  const std::int64_t first = page * kPageKeys + keys.begin;
  const std::int64_t width = task.layout.value_width();
  return {task.scores + row * kScoreStride + first,
          kScoreStride,
          task.state.o + row * width,
          width,
          keys.end - keys.begin,
          first > visible.begin};
}

// --- many rows, converted pages ---

inline void PackedScores(const Task& task, std::int64_t page) {
  const Columns any = WholePanels(task.Visible(0, task.rows.count));
  const Columns needed = InPage(any, page);
  if (needed.empty()) return;
  const std::int64_t dim = task.layout.key_dim;
  const std::int64_t panel_size = dim * kPanel;
  VisitKeys(task.layout, task.piece.keys[page], task.scales,
            PackPanels{0, dim, needed.begin, needed.end, task.page, panel_size});
  const PanelSource keys{task.page, panel_size};
  constexpr std::int64_t kStep = BlockPanels(kTileRows) * kPanel;
  for (std::int64_t column = 0; column < kPageKeys; column += kStep) {
    for (std::int64_t row = 0; row < task.rows.count; row += kTileRows) {
      const Columns visible = InPage(WholePanels(task.Visible(row, kTileRows)), page);
      Gemm<kTileRows>(ScoreRows(task, row, page), keys, std::max(visible.begin, column),
                      std::min(visible.end, column + kStep));
    }
  }
}

inline void PackedValues(const Task& task, std::int64_t page) {
  const Columns needed = InPage(task.Visible(0, task.rows.count), page);
  if (needed.empty()) return;
  const std::int64_t width = task.layout.value_width();
  constexpr std::int64_t kPanelSize = kPageKeys * kPanel;
  VisitValues(task.layout, task.piece.values[page], task.scales,
              PackPanels{needed.begin, needed.end, 0, width, task.page, kPanelSize});
  const PanelSource values{task.page, kPanelSize};
  constexpr std::int64_t kStep = BlockPanels(kTileRows) * kPanel;
  for (std::int64_t column = 0; column < width; column += kStep) {
    for (std::int64_t row = 0; row < task.rows.count; row += kTileRows) {
      const Columns visible = task.Visible(row, kTileRows);
      const Columns keys = InPage(visible, page);
      if (keys.empty()) continue;
      Gemm<kTileRows>(ValueRows(task, row, page, visible), values.From(keys.begin), column,
                      std::min(column + kStep, width));
    }
  }
}

// --- few rows, pages as they are stored ---

struct DirectScores {
  const Task& task;
  std::int64_t page, row, count;

  template <class Source>
  HWY_INLINE void operator()(const Source& keys) const {
    const Columns columns = InPage(WholePanels(task.Visible(row, count)), page);
    GemmFewRows(count, ScoreRows(task, row, page), keys, columns.begin, columns.end);
  }
};

struct DirectValues {
  const Task& task;
  std::int64_t page, row, count;

  template <class Source>
  HWY_INLINE void operator()(const Source& values) const {
    const Columns visible = task.Visible(row, count);
    const Columns keys = InPage(visible, page);
    if (keys.empty()) return;
    GemmFewRows(count, ValueRows(task, row, page, visible), values.From(keys.begin), 0,
                task.layout.value_width());
  }
};

// At most four rows at a time, as even as can be.
HWY_INLINE std::int64_t DirectStep(std::int64_t rows) {
  return DivideUp(rows, DivideUp(rows, std::int64_t{4}));
}

// --- the whole ---

inline void Softmax(const Task& task, std::int64_t step) {
  for (std::int64_t first = 0; first < task.rows.count; first += step) {
    const Columns computed = WholePanels(task.Visible(first, step));
    for (std::int64_t row = first; row < std::min(first + step, task.rows.count); ++row) {
      SoftmaxRow(task.scores + row * kScoreStride, task.Visible(row), computed, task.rows.soft_cap,
                 task.state.m + row, task.state.d + row);
    }
    if (task.Visible(first, step).empty()) {
      const std::int64_t width = task.layout.value_width();
      Fill(task.state.o, first * width, std::min(first + step, task.rows.count) * width, 0.0f);
    }
  }
}

void AttendPiece(const PageLayout& layout, const AttentionRows& rows, const AttentionPiece& piece,
                 float* scratch, const SoftmaxState& state) {
  const std::int64_t widest = std::max(layout.key_dim, layout.value_width());
  float* page_memory = scratch + RoundUp(rows.count, kRowStep) * kScoreStride;
  const Task task{
      layout, rows, piece, state, scratch, page_memory, page_memory + kPageKeys * widest};
  const bool direct = rows.count <= kDirectRows;
  const std::int64_t step = direct ? DirectStep(rows.count) : kTileRows;

  for (std::int64_t page = 0; page < piece.pages; ++page) {
    if (!direct) {
      PackedScores(task, page);
      continue;
    }
    for (std::int64_t row = 0; row < rows.count; row += step) {
      VisitKeys(layout, piece.keys[page], task.scales,
                DirectScores{task, page, row, std::min(step, rows.count - row)});
    }
  }
  Softmax(task, step);
  for (std::int64_t page = 0; page < piece.pages; ++page) {
    if (!direct) {
      PackedValues(task, page);
      continue;
    }
    for (std::int64_t row = 0; row < rows.count; row += step) {
      VisitValues(layout, piece.values[page], task.scales,
                  DirectValues{task, page, row, std::min(step, rows.count - row)});
    }
  }
}

constexpr AttentionKernels kAttentionKernels = {StoreKey, StoreValue, AttendPiece, Fold, Normalise};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {

const AttentionKernels& AttentionKernelsFor(Isa isa) {
  return FOVEATE_TABLE_FOR(isa, kAttentionKernels);
}

}  // namespace foveate
#endif
