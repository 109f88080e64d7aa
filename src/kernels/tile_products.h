// Products of whole tiles, for attention that stores its weights: 64 rows by 64 keys at a time.
// What the fused kernel does to scores in between happens in memory here.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "kernels/attention_page.h"

namespace foveate {

// A tile is [rows][64 keys], rows at most 64. Widths are multiples of kPanel.
struct TileProducts {
  // tile = rows * keys^T: rows packed by AttentionKernels::pack_query, keys by pack_keys.
  void (*scores)(std::int64_t rows, std::int64_t dim, const float* queries, const float* keys,
                 float* tile);

  // The largest of rows * keys^T of one panel of 16 keys, those left out of row r whose bits are
  // set in hidden[r]; -inf if all are. Room for scores [rows][16] is the caller's.
  float (*panel_best)(std::int64_t rows, std::int64_t dim, const float* queries, const float* panel,
                      const std::uint32_t* hidden, float* scores);

  // to [rows][width] += tile * panels: values [width / 16][64 keys][16], packed by pack_values.
  void (*add_rows)(std::int64_t rows, const float* tile, const float* panels, std::int64_t width,
                   float* to);

  // to [64 keys][width] += tile^T * panels: those of the rows, packed likewise.
  void (*add_keys)(std::int64_t rows, const float* tile, const float* panels, std::int64_t width,
                   float* to);
};

const TileProducts& TileProductsFor(Isa isa);

}  // namespace foveate
