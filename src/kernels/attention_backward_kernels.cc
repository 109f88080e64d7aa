// The tile kernel of the backward pass.
//
// Shape: up to 64 rows of one head by 64 keys, per call. Scores S and gradients dP, 16 KB each,
// become probabilities P and dS in place; every product goes over the blocks of rows or keys panel
// by panel of its right factor, so that the left one and the panel (4 KB) stay in L1.
// FLOPs: 2 64 64 (3 D + 2 Dv); some 20 vector operations per kLanes scores for the rest, a
// twentieth at D = 64.
// Bytes: 64 (3 D + 2 Dv) floats of packed rows, which stay in L2, and 64 (4 D + 3 Dv) of packed
// keys and their gradients read and written, which pass through it.
//
// Of a partial tile, blocks of rows take part with the panels of keys that one of them sees, and
// blocks of keys with the rows that see one of them.
//
// What profiling taught (AVX2, Zen 3): rows outside and panels inside had the panels pass by in L2
// for each block, 0.56 of the peak at D = 64 instead of 0.7; keys and gradients of 4096 positions
// come from L3, and asking for the next tile ahead takes a twentieth off at D = 128.
//
// What a row must not see cannot reach it: P and dS are zeros there, chosen, not multiplied, and
// what they are multiplied with in turn is finite (pack_panels, keep_finite).
#include "kernels/attention_backward_kernels.h"

#include <algorithm>
#include <array>

#include "kernels/isa_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_backward_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention_gemm-inl.h"
#include "kernels/attention_softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// Blocks of the rows of a tile, and of its keys.
inline constexpr std::int64_t kBlocks = (kBackwardRows + kBlockRows - 1) / kBlockRows;
static_assert(kBackwardRows == kPageKeys);

// Columns that a product goes over at a time, for all blocks: then their panels stay in L1.
inline constexpr std::int64_t kColumns = BlockPanels(kTileRows) * kPanel;

// Asks for memory into L2, evenly over a number of steps.
class Fetcher {
 public:
  Fetcher(const float* from, std::int64_t floats, std::int64_t steps)
      : next_(reinterpret_cast<const char*>(from)),
        end_(next_ + floats * static_cast<std::int64_t>(sizeof(float))),
        bytes_(RoundUp((end_ - next_) / steps + 1, kCacheLine)) {}

  HWY_INLINE void Step() {
    const char* until = std::min(next_ + bytes_, end_);
    for (; next_ < until; next_ += kCacheLine) __builtin_prefetch(next_, 0, 2);
  }

 private:
  const char* next_;
  const char* end_;
  std::int64_t bytes_;
};

struct Pair {
  const BackwardShape& shape;
  const BackwardRows& rows;
  const BackwardKeys& keys;
  float* p;                                // [rows][64]: scores, then probabilities
  float* ds;                               // [rows][64]: gradients of probabilities, then of scores
  float* slope;                            // [rows][64]: of the soft cap
  std::array<Columns, kBlocks> columns{};  // of keys that a block of rows sees, whole panels
  std::array<Columns, kBlocks> rows_that_see{};  // one of a block of keys

  // The tile that lies behind this one, which is mostly the next: its rows are too many for the
  // hardware's prefetching to keep up.
  Fetcher next_keys, next_gradients;

  Pair(const BackwardShape& shape_of, const BackwardRows& rows_of, const BackwardKeys& keys_of,
       float* scratch)
      : shape(shape_of),
        rows(rows_of),
        keys(keys_of),
        p(scratch),
        ds(p + kBackwardRows * kPageKeys),
        slope(ds + kBackwardRows * kPageKeys),
        next_keys(keys.keys + shape.tile_floats(), shape.tile_floats(), Products()),
        next_gradients(keys.dkey + shape.gradient_floats(), shape.gradient_floats(), Products()) {}

  HWY_INLINE void Fetch() {
    next_keys.Step();
    next_gradients.Step();
  }

  // Of blocks by columns in a full tile.
  std::int64_t Products() const {
    return kBlocks * (2 * kPageKeys + 2 * shape.key_width() + shape.value_width()) / kColumns;
  }

  // The keys that the row sees, by pattern and bias.
  std::uint64_t Visible(std::int64_t row) const {
    std::uint64_t visible = keys.bits == nullptr ? ~std::uint64_t{0} : keys.bits[row];
    if (rows.ops.bias == nullptr) return visible;
    const float* bias = Bias(row);
    for (std::uint64_t rest = visible; rest != 0; rest &= rest - 1) {
      const int key = __builtin_ctzll(rest);
      if (bias[key * rows.ops.bias_key_stride] <= kHidden) visible &= ~(std::uint64_t{1} << key);
    }
    return visible;
  }
  const float* Bias(std::int64_t row) const {
    return rows.ops.bias + row * rows.ops.bias_token_stride +
           keys.first_key * rows.ops.bias_key_stride;
  }
};

// --- from scores to their gradients ---

// The derivative of the soft cap where it gave these scores: 1 - tanh^2.
HWY_INLINE void SlopeOfCap(const float* scores, Columns columns, float soft_cap, float* slope) {
  const VF inverse = Set(1.0f / soft_cap);
  for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
    const VF tanh = Mul(Load(scores + i), inverse);
    Store(NegMulAdd(tanh, tanh, Set(1.0f)), slope + i);
  }
}

inline void ApplyOps(const Pair& pair, std::int64_t row, Columns columns, std::uint64_t visible) {
  const ScoreOps& ops = pair.rows.ops;
  float* scores = pair.p + row * kPageKeys;
  if (ops.soft_cap > 0) {
    SoftCap(scores, columns, ops.soft_cap);
    SlopeOfCap(scores, columns, ops.soft_cap, pair.slope + row * kPageKeys);
  }
  if (ops.slopes != nullptr) {
    const std::int64_t position = std::max<std::int64_t>(pair.rows.first_position + row, 0);
    Alibi(scores, columns, ops.slopes[0], position - pair.keys.first_key);
  }
  if (ops.bias != nullptr) AddBias(scores, visible, pair.Bias(row), ops.bias_key_stride);
  Multiply(scores, columns, static_cast<float>(kLog2E));
}

// P = 2^(s - lse), dS = P (dP - delta).
HWY_INLINE void Gradients(float* p, float* ds, Columns columns, float lse, float delta) {
  for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
    const VF probability = Exp2NonPositive(Sub(Load(p + i), Set(lse)));
    Store(probability, p + i);
    Store(Mul(probability, Sub(Load(ds + i), Set(delta))), ds + i);
  }
}

HWY_INLINE void KeepVisible(float* row, Columns columns, std::uint64_t visible) {
  for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
    Store(HideLanes(Load(row + i), ~visible >> i, Zero()), row + i);
  }
}

inline void RowGradients(const Pair& pair, std::int64_t row, Columns columns) {
  float* p = pair.p + row * kPageKeys;
  float* ds = pair.ds + row * kPageKeys;
  if (columns.empty()) {
    std::fill(p, p + kPageKeys, 0.0f);
    std::fill(ds, ds + kPageKeys, 0.0f);
    return;
  }
  const std::uint64_t visible = pair.Visible(row);
  if (pair.rows.ops.any()) ApplyOps(pair, row, columns, visible);
  Gradients(p, ds, columns, pair.rows.lse[row], pair.rows.delta[row]);
  if (pair.rows.ops.soft_cap > 0) {
    const float* slope = pair.slope + row * kPageKeys;
    for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
      Store(Mul(Load(ds + i), Load(slope + i)), ds + i);
    }
  }
  if (~visible == 0) return;
  for (float* numbers : {p, ds}) {
    std::fill(numbers, numbers + columns.begin, 0.0f);
    std::fill(numbers + columns.end, numbers + kPageKeys, 0.0f);
    KeepVisible(numbers, columns, visible);
  }
}

// --- blocks of a pair ---

inline Columns VisibleColumns(const Pair& pair, std::int64_t first, std::int64_t count) {
  if (pair.keys.bits == nullptr) return {0, kPageKeys};
  std::uint64_t any = 0;
  for (std::int64_t row = first; row < first + count; ++row) any |= pair.keys.bits[row];
  if (any == 0) return {};
  return WholePanels({__builtin_ctzll(any), 64 - __builtin_clzll(any)});
}

// Blocks of rows [first, first + count) of a pair, and of keys.
HWY_INLINE std::int64_t BlockSize(std::int64_t first, std::int64_t end) {
  return std::min<std::int64_t>(kBlockRows, end - first);
}

// tile = packed * right, rows by keys, in the panels of keys that a block of rows sees.
HWY_INLINE void Multiply(Pair& pair, const float* packed, std::int64_t dim, const float* right,
                         float* tile) {
  for (std::int64_t column = 0; column < kPageKeys; column += kColumns) {
    for (std::int64_t row = 0; row < pair.rows.count; row += kBlockRows) {
      const Columns& visible = pair.columns[row / kBlockRows];
      const std::int64_t begin = std::max(column, visible.begin);
      const std::int64_t end = std::min(column + kColumns, visible.end);
      if (begin >= end) continue;
      pair.Fetch();
      GemmRows(BlockSize(row, pair.rows.count), QueryBlock{packed + row * dim, dim},
               PanelSource{right, dim * kPanel}, {tile + row * kPageKeys, kPageKeys, dim, false},
               begin, end);
    }
  }
}

// dquery += dS K.
void AddToQueries(Pair& pair) {
  const std::int64_t width = pair.shape.key_width();
  const PanelSource keys{pair.keys.key_panels, kPageKeys * kPanel};
  for (std::int64_t column = 0; column < width; column += kColumns) {
    for (std::int64_t row = 0; row < pair.rows.count; row += kBlockRows) {
      const auto& [begin, end] = pair.columns[row / kBlockRows];
      if (begin >= end) continue;
      pair.Fetch();
      GemmRows(BlockSize(row, pair.rows.count), TileRows{pair.ds + row * kPageKeys + begin},
               keys.From(begin), {pair.rows.dquery + row * width, width, end - begin, false, true},
               column, std::min(column + kColumns, width));
    }
  }
}

// The rows that see one of a block of keys, whole blocks of rows from the first to the last.
inline Columns RowsThatSee(const Pair& pair, std::int64_t first_key) {
  Columns rows;
  for (std::int64_t row = 0; row < pair.rows.count; row += kBlockRows) {
    const Columns& columns = pair.columns[row / kBlockRows];
    if (columns.begin >= first_key + kBlockRows || columns.end <= first_key) continue;
    if (rows.empty()) rows.begin = row;
    rows.end = std::min(row + kBlockRows, pair.rows.count);
  }
  return rows;
}

// to [keys][width] += tile^T * panels.
void AddToKeys(Pair& pair, const float* tile, const float* panels, std::int64_t width, float* to) {
  for (std::int64_t column = 0; column < width; column += kColumns) {
    for (std::int64_t key = 0; key < kPageKeys; key += kBlockRows) {
      const auto& [begin, end] = pair.rows_that_see[key / kBlockRows];
      if (begin >= end) continue;
      pair.Fetch();
      GemmRows(BlockSize(key, kPageKeys), TileColumns{tile + begin * kPageKeys + key},
               PanelSource{panels, kBackwardRows * kPanel}.From(begin),
               {to + key * width, width, end - begin, false, true}, column,
               std::min(column + kColumns, width));
    }
  }
}

void Accumulate(const BackwardShape& shape, const BackwardRows& rows, const BackwardKeys& keys,
                float* scratch) {
  Pair pair(shape, rows, keys, scratch);
  for (std::int64_t row = 0; row < rows.count; row += kBlockRows) {
    pair.columns[row / kBlockRows] = VisibleColumns(pair, row, BlockSize(row, rows.count));
  }
  for (std::int64_t key = 0; key < kPageKeys; key += kBlockRows) {
    pair.rows_that_see[key / kBlockRows] = RowsThatSee(pair, key);
  }
  Multiply(pair, rows.queries, shape.key_dim, keys.keys, pair.p);
  Multiply(pair, rows.douts, shape.value_dim, keys.values, pair.ds);
  for (std::int64_t row = 0; row < rows.count; ++row) {
    RowGradients(pair, row, pair.columns[row / kBlockRows]);
  }
  AddToKeys(pair, pair.p, rows.dout_panels, shape.value_width(), keys.dvalue);
  AddToKeys(pair, pair.ds, rows.query_panels, shape.key_width(), keys.dkey);
  AddToQueries(pair);
}

// --- packing ---

HWY_INLINE VF FiniteOrZero(VF v) { return IfLess(Abs(v), Set(__builtin_inff()), v, Zero()); }

void KeepFinite(std::int64_t count, float* numbers) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(FiniteOrZero(Load(numbers + i)), numbers + i);
  StoreFirst(FiniteOrZero(LoadFirst(numbers + i, count - i)), numbers + i, count - i);
}

bool PackPanels(std::int64_t row, std::int64_t dim, const float* from, float* panels) {
  VF check = Zero();  // 0 * x is NaN for infinite x and NaN
  for (std::int64_t d = 0; d < RoundUp(dim, kPanel); d += kLanes) {
    const VF v = d + kLanes <= dim ? Load(from + d) : LoadFirst(from + d, dim - d);
    check = MulAdd(v, Zero(), check);
    Store(FiniteOrZero(v),
          panels + d / kPanel * kBackwardRows * kPanel + row * kPanel + d % kPanel);
  }
  return ReduceSum(check) == 0.0f;
}

float Dot(std::int64_t count, const float* a, const float* b) {
  VF sum = Zero();
  for (std::int64_t i = 0; i + kLanes <= count; i += kLanes) {
    sum = MulAdd(Load(a + i), Load(b + i), sum);
  }
  const std::int64_t whole = count / kLanes * kLanes;
  return ReduceSum(
      MulAdd(LoadFirst(a + whole, count - whole), LoadFirst(b + whole, count - whole), sum));
}

constexpr AttentionBackwardKernels kAttentionBackwardKernels = {PackPanels, KeepFinite, Dot,
                                                                Accumulate};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {

const AttentionBackwardKernels& AttentionBackwardKernelsFor(Isa isa) {
  return FOVEATE_TABLE_FOR(isa, kAttentionBackwardKernels);
}

}  // namespace foveate
#endif
