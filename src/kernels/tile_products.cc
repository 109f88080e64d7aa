#include "kernels/tile_products.h"

#include <algorithm>
#include <cmath>

#include "kernels/isa_dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tile_products.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
namespace {

inline constexpr std::int64_t kTilePanel = kPageKeys * kPanel;

HWY_INLINE std::int64_t BlockSize(std::int64_t first, std::int64_t end) {
  return std::min<std::int64_t>(kBlockRows, end - first);
}

HWY_INLINE void ScoreColumns(std::int64_t rows, std::int64_t dim, const float* queries,
                             const float* keys, std::int64_t columns, float* scores) {
  for (std::int64_t row = 0; row < rows; row += kBlockRows) {
    GemmRows(BlockSize(row, rows), QueryBlock{queries + row * dim, dim},
             PanelSource{keys, dim * kPanel}, {scores + row * columns, columns, dim, false}, 0,
             columns);
  }
}

void Scores(std::int64_t rows, std::int64_t dim, const float* queries, const float* keys,
            float* tile) {
  ScoreColumns(rows, dim, queries, keys, kPageKeys, tile);
}

float PanelBest(std::int64_t rows, std::int64_t dim, const float* queries, const float* panel,
                const std::uint32_t* hidden, float* scores) {
  ScoreColumns(rows, dim, queries, panel, kPanel, scores);
  const VF none = Set(-HUGE_VALF);
  VF best = none;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t lane = 0; lane < kPanel; lane += kLanes) {
      const VF own = Load(scores + row * kPanel + lane);
      const std::uint32_t bits = hidden[row] >> lane & ((1u << kLanes) - 1);
      best = Max(bits == 0 ? own : HideLanes(own, bits, none), best);  // NaN leaves what there is
    }
  }
  return ReduceMax(best);
}

void AddRows(std::int64_t rows, const float* tile, const float* panels, std::int64_t width,
             float* to) {
  for (std::int64_t row = 0; row < rows; row += kBlockRows) {
    GemmRows(BlockSize(row, rows), TileRows{tile + row * kPageKeys},
             PanelSource{panels, kTilePanel}, {to + row * width, width, kPageKeys, true}, 0, width);
  }
}

void AddKeys(std::int64_t rows, const float* tile, const float* panels, std::int64_t width,
             float* to) {
  for (std::int64_t key = 0; key < kPageKeys; key += kBlockRows) {
    GemmRows(BlockSize(key, kPageKeys), TileColumns{tile + key}, PanelSource{panels, kTilePanel},
             {to + key * width, width, rows, true}, 0, width);
  }
}

}  // namespace

constexpr TileProducts kTileProducts = {
    .scores = Scores, .panel_best = PanelBest, .add_rows = AddRows, .add_keys = AddKeys};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {

const TileProducts& TileProductsFor(Isa isa) { return FOVEATE_TABLE_FOR(isa, kTileProducts); }

}  // namespace foveate
#endif
