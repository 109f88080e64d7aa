// The tile kernel of the backward pass.
//
// Shape: up to 64 rows of one head by 64 keys, per call. Scores S and gradients dP of a block of 12
// or 8 rows become probabilities P and dS in L1, and at once dQ of these rows; P and dS of all
// rows, 32 KB, stay for the products over rows that give dV and dK of a block of keys. FLOPs: 2 64
// 64 (3 D + 2 Dv); some 20 vector operations per kLanes scores for the rest, a twentieth at D = 64.
// Bytes: 64 (3 D + 2 Dv) floats of packed rows and as many of packed keys and their gradients, all
// in L2 up to D = 128.
//
// Blocks of a partial tile take part with the panels of keys that one of their rows sees, and
// blocks of keys with the rows that see one of them.
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

inline constexpr std::int64_t kRowBlocks = (kBackwardRows + kBlockRows - 1) / kBlockRows;

// Left factors from a tile [rows][64 keys]: its rows, and its columns.
struct TileRows {
  const float* data;
  HWY_INLINE TileRows From(std::int64_t k) const { return {data + k}; }
  HWY_INLINE TileRows Next() const { return {data + kTileRows * kPageKeys}; }
  HWY_INLINE float At(std::int64_t r, std::int64_t k) const { return data[r * kPageKeys + k]; }
};
struct TileColumns {
  const float* data;
  HWY_INLINE TileColumns From(std::int64_t k) const { return {data + k * kPageKeys}; }
  HWY_INLINE TileColumns Next() const { return {data + kTileRows}; }
  HWY_INLINE float At(std::int64_t r, std::int64_t k) const { return data[k * kPageKeys + r]; }
};

struct Pair {
  const BackwardShape& shape;
  const BackwardRows& rows;
  const BackwardKeys& keys;
  float* p;      // [rows][64]: scores, then probabilities
  float* ds;     // [rows][64]: gradients of probabilities, then of scores
  float* slope;  // [rows][64]: of the soft cap
  std::array<Columns, kRowBlocks> columns{};  // that a block of rows computes, whole panels

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
  const std::uint64_t visible = pair.Visible(row);
  float* p = pair.p + row * kPageKeys;
  float* ds = pair.ds + row * kPageKeys;
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

// Scores, probabilities and gradients of some rows, and what their queries get.
void RowBlock(Pair& pair, std::int64_t first) {
  const auto& [key_dim, value_dim] = pair.shape;
  const std::int64_t count = std::min<std::int64_t>(kBlockRows, pair.rows.count - first);
  const Columns columns = VisibleColumns(pair, first, count);
  pair.columns[first / kBlockRows] = columns;
  float* p = pair.p + first * kPageKeys;
  float* ds = pair.ds + first * kPageKeys;
  if (columns.empty()) {
    std::fill(p, p + count * kPageKeys, 0.0f);
    std::fill(ds, ds + count * kPageKeys, 0.0f);
    return;
  }
  GemmRows(count, QueryBlock{pair.rows.queries + first * key_dim, key_dim},
           PanelSource{pair.keys.keys, key_dim * kPanel}, {p, kPageKeys, key_dim, false},
           columns.begin, columns.end);
  GemmRows(count, QueryBlock{pair.rows.douts + first * value_dim, value_dim},
           PanelSource{pair.keys.values, value_dim * kPanel}, {ds, kPageKeys, value_dim, false},
           columns.begin, columns.end);
  for (std::int64_t row = first; row < first + count; ++row) RowGradients(pair, row, columns);
  const std::int64_t width = pair.shape.key_width();
  const PanelSource keys{pair.keys.key_panels, kPageKeys * kPanel};
  GemmRows(count, TileRows{ds + columns.begin}, keys.From(columns.begin),
           {pair.rows.dquery + first * width, width, columns.end - columns.begin, false, true}, 0,
           width);
}

struct BlockOfKeys {
  std::int64_t first = 0;
  std::int64_t count = 0;
  Columns rows;  // that take part
};

// to [keys][width] += tile^T * panels.
HWY_INLINE void AddToKeys(const BlockOfKeys& block, const float* tile, const float* panels,
                          std::int64_t width, float* to) {
  const auto& [begin, end] = block.rows;
  GemmRows(block.count, TileColumns{tile + begin * kPageKeys + block.first},
           PanelSource{panels, kBackwardRows * kPanel}.From(begin),
           {to + block.first * width, width, end - begin, false, true}, 0, width);
}

// What some keys and values get from all rows that see one of them.
void KeyBlock(const Pair& pair, std::int64_t first) {
  const std::int64_t count = std::min<std::int64_t>(kBlockRows, kPageKeys - first);
  std::int64_t begin = pair.rows.count, end = 0;
  for (std::int64_t row = 0; row < pair.rows.count; row += kBlockRows) {
    const Columns& columns = pair.columns[row / kBlockRows];
    if (columns.begin >= first + count || columns.end <= first) continue;
    begin = std::min(begin, row);
    end = std::min(row + kBlockRows, pair.rows.count);
  }
  if (begin >= end) return;
  const BlockOfKeys block{first, count, {begin, end}};
  AddToKeys(block, pair.p, pair.rows.dout_panels, pair.shape.value_width(), pair.keys.dvalue);
  AddToKeys(block, pair.ds, pair.rows.query_panels, pair.shape.key_width(), pair.keys.dkey);
}

void Accumulate(const BackwardShape& shape, const BackwardRows& rows, const BackwardKeys& keys,
                float* scratch) {
  constexpr std::int64_t kTile = kBackwardRows * kPageKeys;
  Pair pair{shape, rows, keys, scratch, scratch + kTile, scratch + 2 * kTile};
  for (std::int64_t row = 0; row < rows.count; row += kBlockRows) RowBlock(pair, row);
  for (std::int64_t key = 0; key < kPageKeys; key += kBlockRows) KeyBlock(pair, key);
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
