// The attention tile kernel.
//
// Shape: R query rows (tokens times the heads of a group) by a step of up to 4 tiles of 64 keys of
// one KV head, per call. A step's keys and values, as panels of floats, take at most 256 KB (L2);
// blocks of 8 or 12 rows pass over them one after the other, each with its scores (9 or 13 KB) and
// outputs in L1: scores, softmax, values, then one merge into the state.
// FLOPs: 2 R 256 (D + Dv) for the two products, some 15 vector operations per kLanes scores for the
// softmax: a tenth of the products at D = 64.
// Bytes: 256 (D + Dv) elements, once for all rows.
//
// Registers: 6 rows by 2 vectors of AVX2 are 12 sums of 16 registers, 2 of the panel, 1 broadcast;
// 8 rows by 2 vectors of AVX-512 leave no rest in a tile of 64 rows; NEON has 24 sums of 32.
//
// bfloat16 tensors go to the matrix unit of machines that have one (attention_unit-inl.h), in
// blocks of 32 rows. Otherwise there are three ways to read a tile, equal bit for bit:
//   - packed panels: tensors of a call with many rows, packed once for all of them;
//   - pages of a KV cache: for many rows widened into panels at each step (as much work as 3 rows);
//     up to 8 rows (decode) read the stored type, up to 4 rows at a time, each element widened in a
//     register and used for all heads of the group; nibbles become bytes in L1 before;
//   - tensors in place, up to 8 rows: keys are transposed tile by tile in L1, values read as they
//     lie.
// Only partial tiles have masks; a block of rows computes just the panels of keys that it sees.
//
// What profiling taught (2 threads; shares of a loop of multiply-adds and of a plain sum over as
// much memory, in the same process):
//   - Prefill (AVX-512, Zen 4, `foveate bench attention`): 0.83 of the peak at D = 64, 0.88 at 128,
//     0.75 at 1024 keys. Row blocks outside and steps inside beat the opposite order, which kept
//     scores in L2 (0.65 on AVX2). The micro-GEMM takes two thirds of the time at 1024 keys,
//     softmax a twelfth; page faults of fresh packing memory had cost a tenth.
//   - A core whose other hardware thread is busy with foreign work decodes half as much: what the
//     micro-GEMM's loop cost besides its products (AVX2: 4 of 24 operations) then cost 8 %, until
//     it was unrolled. Two register blocks for each panel, which then comes from L2 half as often:
//     3 %. Maxima of all rows before the first exponential: 2 %.
//   - Softmax in units of log2 spares a multiplication for each score: the factor goes into the
//     queries.
//   - Decode: the order of memory is the order of reading (pieces of a cache), prefetching follows
//     it, into L2: fetches into L1 hold its miss buffers for the latency of the memory and bound a
//     core to 12 of 30 GB/s. q8_0 is compute-bound, and better off with L1. Nibbles split where
//     they are used, two shifts for each vector, took half as long again as q8_0 (AVX2, 8/8 heads).
//   - With the matrix unit (AMX, D = 64) softmax and products take as long, 1.7 times the peak of
//     multiply-adds in all. Floats as sums of three bfloat16, six products for one, were no faster
//     than multiply-adds. Steps of 64 KB instead of 256 gave a tenth at D = 128, fetching panels
//     ahead nothing.
//   - Rounding and scaling by a power of two are instructions of AVX-512: 10 operations for an
//     exponential instead of 14, a tenth of the time with the matrix unit.
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
#include "kernels/attention_pack-inl.h"
#include "kernels/attention_softmax-inl.h"
#include "kernels/attention_store-inl.h"
#include "kernels/attention_unit-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// The scratch memory of a call, cut up.
struct Scratch {
  float* scores;  // [BlockRows][kScoreStride]
  float* out;     // [BlockRows][value_width], of this step alone
  float* m;       // [BlockRows, a multiple of kPanel]
  float* d;
  float* keys;  // converted pages, as packed ones; of pairs a page of values
  float* values;
  float* scales;  // of a page of codes

  Scratch(float* memory, const PageLayout& layout)
      : scores(memory),
        out(scores + BlockRows(layout) * kScoreStride),
        m(out + BlockRows(layout) * layout.value_width()),
        d(m + RoundUp(BlockRows(layout), kPanel)),
        keys(d + RoundUp(BlockRows(layout), kPanel)),
        values(keys + StepTiles(layout) * kPageKeys * layout.key_dim),
        scales(values + StepTiles(layout) * kPageKeys * layout.value_width()) {}
};

// What one block of rows sees of a tile, in columns of the tile. Scores are computed for whole
// panels of it.
struct VisibleTile {
  int tile = 0;
  Columns columns;
};

struct Call {
  const PageLayout& layout;
  const AttentionRows& rows;
  const AttentionStep& step;
  const Scratch& scratch;
  const SoftmaxState& state;
};

// Rows [first, first + count) of a call, within one block of packed queries.
struct RowBlock {
  const Call& call;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::array<VisibleTile, kPiecePages> visible{};
  int visible_count = 0;

  std::uint64_t Bits(int tile, std::int64_t row) const {
    const std::uint64_t* bits = call.step.tiles[tile].bits;
    return bits == nullptr ? ~std::uint64_t{0} : bits[(first + row) / call.rows.group];
  }

  // Of the row and the first key of the tile.
  const float* Bias(int tile, std::int64_t row) const {
    const ScoreOps& ops = call.rows.ops;
    return ops.bias + (first + row) % call.rows.group * ops.bias_head_stride +
           (first + row) / call.rows.group * ops.bias_token_stride +
           call.step.tiles[tile].first_key * ops.bias_key_stride;
  }
  bool HiddenByBias(int tile, std::int64_t row, int key) const {
    const ScoreOps& ops = call.rows.ops;
    return ops.bias != nullptr && Bias(tile, row)[key * ops.bias_key_stride] <= kHidden;
  }
};

HWY_INLINE void FindVisible(RowBlock& block) {
  for (int tile = 0; tile < block.call.step.count; ++tile) {
    std::uint64_t any = block.call.step.tiles[tile].bits == nullptr ? ~std::uint64_t{0} : 0;
    for (std::int64_t row = 0; row < block.count && ~any != 0; ++row) any |= block.Bits(tile, row);
    if (any == 0) continue;
    const Columns columns{__builtin_ctzll(any), 64 - __builtin_clzll(any)};
    block.visible[block.visible_count++] = {tile, columns};
  }
}

// --- scores ---

// Packed queries from a row on, as far as their block goes.
HWY_INLINE QueryBlock QueriesFrom(const float* packed, std::int64_t row, std::int64_t dim) {
  const std::int64_t rest = row % kTileRows;
  return {packed + (row - rest) * dim + rest, dim};
}

struct ScoreTile {
  const RowBlock& block;
  const VisibleTile& visible;

  template <class Source>
  HWY_INLINE void operator()(const Source& keys) const {
    const Call& call = block.call;
    const std::int64_t dim = call.layout.key_dim;
    const QueryBlock queries = QueriesFrom(call.rows.queries, block.first, dim);
    const Columns columns = WholePanels(visible.columns);
    GemmRows(block.count, queries, keys,
             {call.scratch.scores + visible.tile * kPageKeys, kScoreStride, dim, false},
             columns.begin, columns.end);
  }

#if FOVEATE_MATRIX_UNIT
  HWY_INLINE void operator()(const PairSource& keys) const {
    const Call& call = block.call;
    const auto* queries = reinterpret_cast<const std::uint16_t*>(call.rows.queries);
    UnitScores(block.count, queries + block.first * call.layout.unit_depth(), keys,
               call.scratch.scores + visible.tile * kPageKeys, WholePanels(visible.columns));
  }
#endif
};

// What softmax still has to multiply scores by.
HWY_INLINE float RemainingScale(const AttentionRows& rows) {
  return rows.ops.any() || rows.scale <= 0 ? 1 : rows.scale;
}

inline void ApplyScoreOps(const RowBlock& block, const VisibleTile& visible) {
  const AttentionRows& rows = block.call.rows;
  const KeyTile& tile = block.call.step.tiles[visible.tile];
  const Columns columns = WholePanels(visible.columns);
  for (std::int64_t row = 0; row < block.count; ++row) {
    float* scores = block.call.scratch.scores + row * kScoreStride + visible.tile * kPageKeys;
    if (rows.scale != 1) Multiply(scores, columns, rows.scale);
    if (!rows.ops.any()) continue;
    const std::int64_t token = (block.first + row) / rows.group;
    const std::int64_t head = (block.first + row) % rows.group;
    if (rows.ops.soft_cap > 0) SoftCap(scores, columns, rows.ops.soft_cap);
    if (rows.ops.slopes != nullptr) {
      const std::int64_t position = std::max<std::int64_t>(rows.first_position + token, 0);
      Alibi(scores, columns, rows.ops.slopes[head], position - tile.first_key);
    }
    if (rows.ops.bias != nullptr) {
      AddBias(scores, block.Bits(visible.tile, row), block.Bias(visible.tile, row),
              rows.ops.bias_key_stride);
    }
    Multiply(scores, columns, static_cast<float>(kLog2E));
  }
}

HWY_INLINE void TakeScores(const RowBlock& block, const VisibleTile& visible) {
  const float* from = block.call.step.tiles[visible.tile].scores + block.first * kPageKeys;
  float* to = block.call.scratch.scores + visible.tile * kPageKeys;
  for (std::int64_t row = 0; row < block.count; ++row) {
    std::copy_n(from + row * kPageKeys, kPageKeys, to + row * kScoreStride);
  }
}

inline void Scores(const RowBlock& block) {
  const Call& call = block.call;
  for (int i = 0; i < block.visible_count; ++i) {
    const VisibleTile& visible = block.visible[i];
    const KeyTile& tile = call.step.tiles[visible.tile];
    if (tile.scores != nullptr) {
      TakeScores(block, visible);
    } else {
      VisitKeys(call.layout, tile, call.scratch.scales, call.scratch.keys,
                ScoreTile{block, visible});
    }
    if (call.rows.ops.any() || call.rows.scale <= 0) ApplyScoreOps(block, visible);
    if (tile.bits == nullptr) continue;
    for (std::int64_t row = 0; row < block.count; ++row) {
      Hide(call.scratch.scores + row * kScoreStride + visible.tile * kPageKeys,
           WholePanels(visible.columns), block.Bits(visible.tile, row));
    }
  }
}

// --- softmax ---

inline void Softmax(const RowBlock& block) {
  // The columns that were computed; tiles side by side make one span.
  Spans spans;
  for (int i = 0; i < block.visible_count; ++i) {
    const std::int64_t first = block.visible[i].tile * kPageKeys;
    const Columns columns = WholePanels(block.visible[i].columns);
    if (spans.count > 0 && spans.at[spans.count - 1].end == first + columns.begin) {
      spans.at[spans.count - 1].end = first + columns.end;
    } else {
      spans.at[spans.count++] = {first + columns.begin, first + columns.end};
    }
  }
  // All maxima first: else each row would wait for its own.
  const Scratch& scratch = block.call.scratch;
  const float scale = RemainingScale(block.call.rows);
  for (std::int64_t row = 0; row < block.count; ++row) {
    scratch.m[row] = scale * MaxOfRow(scratch.scores + row * kScoreStride, spans);
  }
  for (std::int64_t row = 0; row < block.count; ++row) {
    float* scores = scratch.scores + row * kScoreStride;
#if FOVEATE_MATRIX_UNIT
    if (block.call.layout.pairs) {
      scratch.d[row] = UnitExponentials(scores, spans, scale, scratch.m[row]);
      continue;
    }
#endif
    scratch.d[row] = ExponentialsOfRow(scores, spans, scratch.m[row]);
  }
}

// --- values ---

struct ValueTile {
  const RowBlock& block;
  std::int64_t first;  // of the keys, as a column of scores
  std::int64_t count;
  std::int64_t offset;  // of the first key in its page
  bool accumulate;

  template <class Source>
  HWY_INLINE void operator()(const Source& values) const {
    const Call& call = block.call;
    const std::int64_t width = call.layout.value_width();
    GemmRows(block.count, ScoreBlock{call.scratch.scores + first}, values.From(offset),
             {call.scratch.out, width, count, accumulate}, 0, width);
  }

#if FOVEATE_MATRIX_UNIT
  HWY_INLINE void operator()(const PairSource& values) const {
    const Scratch& scratch = block.call.scratch;
    UnitOutput(block.count, scratch.scores, {first, first + count}, values, offset, scratch.out,
               block.call.layout.value_width(), accumulate);
  }
#endif
};

// Values that are not finite: 0 * NaN would reach rows that do not see the key.
struct CarefulValueTile {
  const RowBlock& block;
  const VisibleTile& visible;
  bool accumulate;

  template <class Source>
  HWY_INLINE void operator()(const Source& values) const {
    const Call& call = block.call;
    const std::int64_t width = call.layout.value_width();
    for (std::int64_t row = 0; row < block.count; ++row) {
      float* out = call.scratch.out + row * width;
      if (!accumulate) std::fill(out, out + width, 0.0f);
      const float* p = call.scratch.scores + row * kScoreStride + visible.tile * kPageKeys;
      for (std::uint64_t bits = block.Bits(visible.tile, row); bits != 0; bits &= bits - 1) {
        const int key = __builtin_ctzll(bits);
        if (block.HiddenByBias(visible.tile, row, key)) continue;
        for (std::int64_t i = 0; i < width; i += kLanes) {
          Store(MulAdd(Set(p[key]), values.From(0).At(key, i), Load(out + i)), out + i);
        }
      }
    }
  }

#if FOVEATE_MATRIX_UNIT
  // They become zeros, and then NaN in the rows that see them.
  HWY_INLINE void operator()(const PairSource& values) const {
    const Scratch& scratch = block.call.scratch;
    const std::int64_t width = block.call.layout.value_width();
    const std::int64_t first = visible.tile * kPageKeys;
    UnitOutput(block.count, scratch.scores,
               {first + visible.columns.begin, first + visible.columns.end},
               FiniteValues(values, width, scratch.keys), visible.columns.begin, scratch.out, width,
               accumulate);
    for (std::int64_t row = 0; row < block.count; ++row) {
      float* out = scratch.out + row * width;
      for (std::uint64_t bits = block.Bits(visible.tile, row); bits != 0; bits &= bits - 1) {
        const int key = __builtin_ctzll(bits);
        if (block.HiddenByBias(visible.tile, row, key)) continue;
        for (std::int64_t i = 0; i < width; i += kLanes) {
          const VF value = values.At(key, i);
          Store(Add(Load(out + i), Sub(value, value)), out + i);
        }
      }
    }
  }
#endif
};

struct CheckFinite {
  Columns keys;
  std::int64_t width;
  bool& finite;

  template <class Source>
  HWY_INLINE void operator()(const Source& values) const {
    VF check = Zero();  // 0 * x is NaN for infinite x and NaN
    for (std::int64_t k = keys.begin; k < keys.end; ++k) {
      for (std::int64_t i = 0; i < width; i += kLanes) {
        check = MulAdd(values.At(k, i), Zero(), check);
      }
    }
    finite = ReduceSum(check) == 0.0f;
  }
};

// The values that are multiplied, those beside the visible ones by zero.
HWY_INLINE Columns ReadColumns([[maybe_unused]] const PageLayout& layout, const Columns& visible) {
#if FOVEATE_MATRIX_UNIT
  if (layout.pairs) return WholeDepths(visible);
#endif
  return visible;
}

// Whether rows may see different keys of a tile of which some value is not finite. With a bias they
// always may.
inline bool NeedsCare(const Call& call, const VisibleTile& visible) {
  const KeyTile& tile = call.step.tiles[visible.tile];
  if (tile.bits == nullptr && call.rows.ops.bias == nullptr) return false;
  bool finite = true;
  VisitValues(
      call.layout, tile, call.scratch.scales,
      CheckFinite{ReadColumns(call.layout, visible.columns), call.layout.value_width(), finite});
  return !finite;
}

// How many more visible tiles can be walked as one: whole, and side by side in memory.
HWY_INLINE int Adjoining(const RowBlock& block, int i,
                         const std::array<bool, kPiecePages>& careful) {
  int more = 0;
  if (!block.call.layout.packed()) return more;
  while (i + more + 1 < block.visible_count) {
    const VisibleTile& one = block.visible[i + more];
    const VisibleTile& next = block.visible[i + more + 1];
    const auto& tiles = block.call.step.tiles;
    if (next.tile != one.tile + 1 || careful[next.tile] || one.columns.end != kPageKeys ||
        next.columns.begin != 0 ||
        tiles[next.tile].values != tiles[one.tile].values + block.call.layout.packed_value_step() *
                                                                static_cast<int>(sizeof(float))) {
      break;
    }
    ++more;
  }
  return more;
}

inline void Values(const RowBlock& block, const std::array<bool, kPiecePages>& careful) {
  const Call& call = block.call;
  for (int i = 0; i < block.visible_count;) {
    const VisibleTile& visible = block.visible[i];
    const KeyTile& tile = call.step.tiles[visible.tile];
    if (careful[visible.tile]) {
      VisitValues(call.layout, tile, call.scratch.scales, CarefulValueTile{block, visible, i > 0});
      ++i;
      continue;
    }
    const int last = i + Adjoining(block, i, careful);
    const std::int64_t first = visible.tile * kPageKeys + visible.columns.begin;
    const std::int64_t end = block.visible[last].tile * kPageKeys + block.visible[last].columns.end;
    VisitValues(call.layout, tile, call.scratch.scales,
                ValueTile{block, first, end - first, visible.columns.begin, i > 0});
    i = last + 1;
  }
}

// --- the whole ---

void AttendBlock(const Call& call, std::int64_t first, std::int64_t count,
                 const std::array<bool, kPiecePages>& careful) {
  RowBlock block{call, first, count};
  FindVisible(block);
  if (block.visible_count == 0) return;
  Scores(block);
  Softmax(block);
  Values(block, careful);
  const Scratch& scratch = call.scratch;
  const std::int64_t width = call.layout.value_width();
  Merge(count, width, {scratch.out, scratch.m, scratch.d},
        {call.state.o + first * width, call.state.m + first, call.state.d + first,
         call.state.o_rest + first * width, call.state.d_rest + first});
}

// Converts the visible part of stored pages into panels; returns the step and layout of those.
inline PageLayout ConvertStep(const Call& call, AttentionStep& step) {
  PageLayout packed = call.layout;
  packed.value_panel = StepTiles(call.layout) * kPageKeys * kPanel;
  const std::int64_t dim = call.layout.key_dim;
  for (int tile = 0; tile < step.count; ++tile) {
    KeyTile& page = step.tiles[tile];
    float* keys = call.scratch.keys + tile * kPageKeys * dim;
    float* values = call.scratch.values + tile * kPageKeys * kPanel;
    VisitKeys(call.layout, page, call.scratch.scales, nullptr,
              PackPanels{dim, kPageKeys, keys, dim * kPanel});
    VisitValues(call.layout, page, call.scratch.scales,
                PackPanels{kPageKeys, call.layout.value_width(), values, packed.value_panel});
    page.keys = reinterpret_cast<const std::byte*>(keys);
    page.values = reinterpret_cast<const std::byte*>(values);
  }
  return packed;
}

// At most four rows at a time, as even as can be.
HWY_INLINE std::int64_t DirectRows(std::int64_t rows) {
  return DivideUp(rows, DivideUp(rows, std::int64_t{4}));
}

// The order in which few rows read the tiles of a step: all keys, then all values.
HWY_INLINE void ChainTiles(AttentionStep& step) {
  for (int tile = 0; tile < step.count; ++tile) {
    const bool last = tile + 1 == step.count;
    step.tiles[tile].after_keys = last ? step.tiles[0].values : step.tiles[tile + 1].keys;
    step.tiles[tile].after_values = last ? nullptr : step.tiles[tile + 1].values;
  }
  // Nobody has asked for where the chain begins.
  const std::byte* first = step.tiles[0].keys;
  for (std::int64_t i = 0; first != nullptr && i < kFetchAhead; i += kCacheLine) {
    __builtin_prefetch(first + i, 0, 2);
  }
}

void AttendStep(const PageLayout& stored, const AttentionRows& rows, const AttentionStep& step,
                float* memory, const SoftmaxState& state) {
  const Scratch scratch(memory, stored);
  AttentionStep converted = step;
  PageLayout layout = stored;
  const bool direct = !stored.packed() && (rows.count <= kDirectRows || stored.in_place);
  if (direct) {
    ChainTiles(converted);
  } else if (!stored.packed()) {
    layout = ConvertStep({stored, rows, step, scratch, state}, converted);
  }
  const Call call{layout, rows, converted, scratch, state};

  RowBlock all{call, 0, rows.count};
  FindVisible(all);
  std::array<bool, kPiecePages> careful{};
  for (int i = 0; i < all.visible_count; ++i) {
    careful[all.visible[i].tile] = NeedsCare(call, all.visible[i]);
  }
  // Blocks that do not cross those of packed queries.
  const std::int64_t unit = layout.pairs ? kUnitRows : direct ? kTileRows : kBlockRows;
  const std::int64_t most = direct ? DirectRows(std::min(rows.count, unit)) : unit;
  for (std::int64_t first = 0; first < rows.count;) {
    const std::int64_t count = std::min({most, unit - first % unit, rows.count - first});
    AttendBlock(call, first, count, careful);
    first += count;
  }
}

void PackQuery(std::int64_t row, std::int64_t dim, const float* query, double scale,
               float* packed) {
  float* to = packed + row / kTileRows * kTileRows * dim + row % kTileRows;
  for (std::int64_t d = 0; d < dim; ++d) to[d * kTileRows] = static_cast<float>(query[d] * scale);
}

void PackRow(const PageLayout& layout, std::int64_t row, const float* query, double scale,
             float* packed) {
  PackQuery(row, layout.key_dim, query, scale, packed);
}

void PackPage(const PageLayout& layout, const TensorRef<2>& keys, const TensorRef<2>& values,
              float* key_page, float* value_page) {
  PackKeys(keys, key_page);
  PackValues(values, layout.value_panel, value_page);
}

// Calls visitor(source) with the keys of a page, without memory of the caller's: not of a tensor in
// place, which would need room for its panels.
template <class Visitor>
HWY_INLINE void VisitPage(const PageLayout& layout, const KeyTile& page, const Visitor& visitor) {
  if (layout.in_place) return;
  // Widened scales, then codes of which four take a float's room.
  alignas(64) float scratch[kMaxHeadDim / kCodeBlock * kPageKeys + kMaxHeadDim * kPageKeys / 4];
  VisitKeys(layout, page, scratch, nullptr, visitor);
}

void UnpackKeys(const PageLayout& layout, const std::byte* block, float* page) {
  VisitPage(layout, {.keys = block},
            PackPanels{layout.key_dim, kPageKeys, page, layout.key_dim * kPanel});
}

struct PageScores {
  std::int64_t dim;
  const float* queries;
  std::int64_t rows;
  float* scores;

  template <class Source>
  HWY_INLINE void operator()(const Source& keys) const {
    const std::int64_t most = DirectRows(std::min<std::int64_t>(rows, kTileRows));
    for (std::int64_t first = 0; first < rows;) {
      const std::int64_t count = std::min({most, kTileRows - first % kTileRows, rows - first});
      GemmRows(count, QueriesFrom(queries, first, dim), keys,
               {scores + first * kPageKeys, kPageKeys, dim, false}, 0, kPageKeys);
      first += count;
    }
  }
};

void ScorePage(const PageLayout& layout, const float* queries, std::int64_t rows,
               const std::byte* keys, const std::byte* next, float* scores) {
  VisitPage(layout, {.keys = keys, .after_keys = next},
            PageScores{layout.key_dim, queries, rows, scores});
}

constexpr AttentionKernels kAttentionKernels = {
    kBlockRows, StoreKey,  StoreValue, WidenRow,  PackKeys,   PackValues, PackPage,
    UnpackKeys, PackQuery, PackRow,    ScorePage, AttendStep, Merge,      Normalise};

#if FOVEATE_MATRIX_UNIT
void PackRowForUnit(const PageLayout& layout, std::int64_t row, const float* query, double scale,
                    float* packed) {
  (layout.pairs ? PackUnitRow : PackRow)(layout, row, query, scale, packed);
}

void PackPageForUnit(const PageLayout& layout, const TensorRef<2>& keys, const TensorRef<2>& values,
                     float* key_page, float* value_page) {
  (layout.pairs ? PackUnitPage : PackPage)(layout, keys, values, key_page, value_page);
}

void AttendStepWithUnit(const PageLayout& layout, const AttentionRows& rows,
                        const AttentionStep& step, float* memory, const SoftmaxState& state) {
  if (!layout.pairs) return AttendStep(layout, rows, step, memory, state);
  const MatrixUnit unit;
  AttendStep(layout, rows, step, memory, state);
}

constexpr AttentionKernels kUnitAttentionKernels = {
    kBlockRows, StoreKey,           StoreValue, WidenRow,  PackKeys,
    PackValues, PackPageForUnit,    UnpackKeys, PackQuery, PackRowForUnit,
    ScorePage,  AttendStepWithUnit, Merge,      Normalise};
#endif

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {

const AttentionKernels& AttentionKernelsFor(Isa isa) {
#if HWY_ARCH_X86
  if (HasMatrixUnit(isa)) return N_AVX3::kUnitAttentionKernels;
#endif
  return FOVEATE_TABLE_FOR(isa, kAttentionKernels);
}

}  // namespace foveate
#endif
