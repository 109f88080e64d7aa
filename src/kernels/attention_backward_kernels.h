// The SIMD half of attention's backward pass: a tile of rows of one head against a tile of keys.
//
// With probabilities P = e^(S - lse) recomputed from the saved log-sum-exp and
// delta_i = sum_d dO_id O_id (FlashAttention-2, arXiv 2307.08691, algorithm 2):
//
//   dV += P^T dO    dP = dO V^T    dS = P o (dP - delta)    dQ += dS K    dK += dS^T Q
//
// five products of matrices for each pair of tiles, none of which outlives the pair. Every product
// of a tile is summed from zero and then added, so that a sum over many tiles loses as little as
// one over their number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/checked.h"
#include "base/cpu.h"
#include "kernels/attention_kernels.h"
#include "kernels/attention_page.h"

namespace foveate {

inline constexpr std::int64_t kBackwardRows = 64;  // most rows of a tile

// The dimensions of a call. Widths are rounded up to whole panels, filled with zeros.
struct BackwardShape {
  std::int64_t key_dim = 0;    // D
  std::int64_t value_dim = 0;  // Dv

  std::int64_t key_width() const { return RoundUp(key_dim, kPanel); }
  std::int64_t value_width() const { return RoundUp(value_dim, kPanel); }

  // Floats of a packed tile of keys, and of its gradients.
  std::int64_t tile_floats() const { return kPageKeys * (key_dim + value_dim + key_width()); }
  std::int64_t gradient_floats() const { return kPageKeys * (key_width() + value_width()); }
};

// Rows of one query head. Each of query and output gradient lies twice: as the left factor of a
// product over dimensions, and in panels as the right factor of one over rows.
struct BackwardRows {
  std::int64_t count = 0;
  std::int64_t first_position = 0;      // for ALiBi
  ScoreOps ops;                         // of this head alone; bias: of the first row and key 0
  const float* queries = nullptr;       // packed by the forward kernel's pack_query, and scaled
  const float* query_panels = nullptr;  // [D'/16][64][16], not scaled
  const float* douts = nullptr;
  const float* dout_panels = nullptr;  // [Dv'/16][64][16]
  const float* lse = nullptr;    // [count], in units of log2, +infinity for a row without keys
  const float* delta = nullptr;  // [count]
  float* dquery = nullptr;       // [count][D'], added to, without the scale
};

// 64 keys and values, packed: keys and values with dimensions outside, as the scores are computed
// from keys, and keys a second time with keys outside. What is behind the last key is zero. Arrays
// lie one behind the other in this order, and gradients likewise; the next tile lies behind them.
struct BackwardKeys {
  const float* keys = nullptr;        // [64/16][D][16]
  const float* values = nullptr;      // [64/16][Dv][16]
  const float* key_panels = nullptr;  // [D'/16][64][16], finite
  std::int64_t first_key = 0;
  const std::uint64_t* bits = nullptr;  // [rows], as in KeyTile
  float* dkey = nullptr;                // [64][D'], added to, without the scale
  float* dvalue = nullptr;              // [64][Dv'], added to
};

struct AttentionBackwardKernels {
  // Writes row `row` of queries or output gradients into `panels` ([D'/16][64][16]), with zeros for
  // what is not finite. Returns whether all of it is.
  bool (*pack_panels)(std::int64_t row, std::int64_t dim, const float* from, float* panels);

  // Numbers that are not finite become zero.
  void (*keep_finite)(std::int64_t count, float* numbers);

  float (*dot)(std::int64_t count, const float* a, const float* b);

  // Adds what the rows against the keys give to dquery, dkey and dvalue. `scratch`:
  // kBackwardScratch floats.
  void (*accumulate)(const BackwardShape& shape, const BackwardRows& rows, const BackwardKeys& keys,
                     float* scratch);
};

const AttentionBackwardKernels& AttentionBackwardKernelsFor(Isa isa);

// Probabilities, their gradients, and the slopes of the soft cap.
inline constexpr std::int64_t kBackwardScratch = 3 * kBackwardRows * kPageKeys;

}  // namespace foveate
