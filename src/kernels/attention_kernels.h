// The SIMD half of attention: rows of queries against a few tiles of keys, by online softmax.
//
// A tile is 64 keys, a step up to four tiles that lie within one aligned group of positions
// (StepTiles), so that the cut into steps is the same for every query, whatever the number of
// threads or the length of the chunk it came in. Within a step the softmax has one maximum; steps
// are merged into a state in order by the (o, m, d) rule. Every score and every output is
// accumulated in one fixed order (over D, over keys) by all code paths, so results are bitwise the
// same whether a row is computed alone or in a block, straight from the stored type or from a
// converted page, step by step or in parts that are merged afterwards.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "base/tensor_ref.h"
#include "kernels/attention_page.h"

namespace foveate {

// Scores are kept in units of log2: scale * log2(e) goes into the queries, or into the last of the
// score operations where there are any.
inline constexpr double kLog2E = 1.44269504088896340736;

// At most this many rows read pages in their stored type (decode); more convert each page once.
inline constexpr std::int64_t kDirectRows = 8;

// Packed queries are padded to a multiple of this many rows for every instruction set.
inline constexpr std::int64_t kRowStep = 24;

// Softmax over some keys before normalisation: o = sum of 2^(s - m) v, d = sum of 2^(s - m). Sums
// of many steps carry along what their additions rounded away, so that a result over a million keys
// is as good as one over a few. Arrays have room for a multiple of kPanel rows.
struct SoftmaxState {
  float* o = nullptr;       // [rows][value_width]
  float* m = nullptr;       // [rows], -infinity where no key was visible
  float* d = nullptr;       // [rows], 0 there
  float* o_rest = nullptr;  // [rows][value_width]
  float* d_rest = nullptr;  // [rows]
};

// What happens to the scaled scores, in this order: soft cap, ALiBi, bias. Masks come last.
struct ScoreOps {
  float soft_cap = 0;             // s = cap * tanh(s / cap); 0: none
  const float* slopes = nullptr;  // [group]: s -= slope * |position - key|, the position at least 0
  const float* bias = nullptr;    // s += bias of the (head of the group, token, key)
  std::int64_t bias_head_stride = 0;
  std::int64_t bias_token_stride = 0;
  std::int64_t bias_key_stride = 0;

  bool any() const { return soft_cap > 0 || slopes != nullptr || bias != nullptr; }
};

// A bias at most this low hides its key as -infinity does.
inline constexpr float kHidden = -1e30f;

// Rows are (token, query head of the group) pairs in that order.
struct AttentionRows {
  const float* queries = nullptr;  // packed by pack_row
  std::int64_t count = 0;
  std::int64_t group = 1;
  float scale = 1;                  // of scores, where queries are packed without: pairs
  std::int64_t first_position = 0;  // of the first token; for ALiBi
  ScoreOps ops;
};

struct KeyTile {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  std::int64_t first_key = 0;
  std::int64_t count = kPageKeys;  // keys that there are; fewer in the last tile of a tensor
  // [tokens]: which of the 64 keys each token sees; nullptr: every token sees all of them.
  const std::uint64_t* bits = nullptr;
  // [rows][64], in place of keys: scores that are known already. Of at most kDirectRows rows.
  const float* scores = nullptr;
  // What is read after its keys and after its values; null: what follows in memory.
  const std::byte* after_keys = nullptr;
  const std::byte* after_values = nullptr;
};

struct AttentionStep {
  std::array<KeyTile, kPiecePages> tiles{};
  int count = 0;
};

struct AttentionKernels {
  // Rows of a block: of a partial tile it computes the panels of keys that one of its rows sees.
  std::int64_t block_rows;

  // Writes one position, column = position % 64, of a page's keys or values. Rows are padded with
  // zeros to a multiple of kPanel.
  void (*store_key)(const PageLayout& layout, std::byte* block, std::int64_t column,
                    const float* row);
  void (*store_value)(const PageLayout& layout, std::byte* block, std::int64_t column,
                      const float* row);

  // to = from, `count` elements that lie `stride` apart.
  void (*widen)(const std::byte* from, ElementType type, std::int64_t stride, std::int64_t count,
                float* to);

  // A packed page of keys [n, D] or values [n, Dv], n <= 64; what lies behind them is zero.
  void (*pack_keys)(const TensorRef<2>& keys, float* page);
  void (*pack_values)(const TensorRef<2>& values, std::int64_t panel, float* page);

  // Keys and values in the form that the layout of a call asks for.
  void (*pack_page)(const PageLayout& layout, const TensorRef<2>& keys, const TensorRef<2>& values,
                    float* key_page, float* value_page);

  // The same of a stored page of keys, all 64.
  void (*unpack_keys)(const PageLayout& layout, const std::byte* block, float* page);

  // Writes query row `row`, scaled and rounded once, among the packed queries.
  void (*pack_query)(std::int64_t row, std::int64_t dim, const float* query, double scale,
                     float* packed);

  // The same in the form that the layout of a call asks for.
  void (*pack_row)(const PageLayout& layout, std::int64_t row, const float* query, double scale,
                   float* packed);

  // scores [rows][64] = packed queries times the keys of a page, as attend computes them before any
  // score operation. `next`: the keys that are scored after these, or null.
  void (*score_page)(const PageLayout& layout, const float* queries, std::int64_t rows,
                     const std::byte* keys, const std::byte* next, float* scores);

  // state = state merged with the softmax of the rows over a step; an empty state has m = -infinity
  // and zeros. `scratch`: StepScratch(layout) floats.
  void (*attend)(const PageLayout& layout, const AttentionRows& rows, const AttentionStep& step,
                 float* scratch, const SoftmaxState& state);

  // total = total merged with `more`, a state of one step; an empty state is the identity.
  void (*merge)(std::int64_t rows, std::int64_t width, const SoftmaxState& more,
                const SoftmaxState& total);

  // o /= d, the rests included, which then are of no more use; rows that saw no key become zero.
  void (*normalise)(std::int64_t rows, std::int64_t width, const SoftmaxState& state);
};

const AttentionKernels& AttentionKernelsFor(Isa isa);

// Whether packed pages may be pairs.
constexpr bool HasMatrixUnit(Isa isa) { return isa == Isa::kAmx; }

// Tiles of a step: as many, up to four, as keep its converted keys and values within 256 KB, so
// that they stay in L2 while the rows pass by, or 64 KB of pairs, which pass faster. Shorter steps
// are merged more often, which costs a twentieth at D = 128 if they are half as long.
inline std::int64_t StepTiles(const PageLayout& layout) {
  const std::int64_t tile_floats =
      (layout.packed_keys() + layout.packed_values()) * (layout.pairs ? 4 : 1);
  return tile_floats <= 16384 ? 4 : tile_floats <= 32768 ? 2 : 1;
}

// Floats that attend() works in: scores and output of a block of rows; a converted step and one
// page's scales, or of pairs a page of values.
inline constexpr std::int64_t kMaxBlockRows = 12;  // of floats
inline std::int64_t BlockRows(const PageLayout& layout) {
  return layout.pairs ? kUnitRows : kMaxBlockRows;
}
inline constexpr std::int64_t kMaxHeadDim = 512;
inline constexpr std::int64_t kScoreStride =
    kPieceKeys + kPanel;  // not a power of two: L1 has sets
inline std::int64_t StepScratch(const PageLayout& layout) {
  const std::int64_t key_dim = RoundUp(layout.key_dim, kPanel);
  const std::int64_t width = layout.value_width();
  const std::int64_t rows = BlockRows(layout);
  const std::int64_t block = rows * (kScoreStride + width) + 2 * RoundUp(rows, kPanel);
  if (layout.pairs) return block + layout.packed_values();
  return block + StepTiles(layout) * kPageKeys * (key_dim + width) + kPageKeys * (key_dim + width);
}

// Floats' room of so many packed queries.
inline std::int64_t PackedQueries(const PageLayout& layout, std::int64_t rows) {
  return layout.pairs ? RoundUp(rows, kUnitRows) * layout.unit_depth() / 2
                      : RoundUp(rows, kRowStep) * layout.key_dim;
}

}  // namespace foveate
