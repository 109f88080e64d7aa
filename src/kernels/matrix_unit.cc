// Four sums of 16 by 16 are at work: two tiles of rows by two panels, so that no product waits for
// the one before it.
#include "kernels/matrix_unit.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "hwy/base.h"

HWY_PUSH_ATTRIBUTES("amx-tile,amx-bf16")
namespace foveate {
namespace {

constexpr std::int64_t kTile = 16;  // rows, and columns of floats

struct TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {kTile, kTile, kTile, kTile, kTile, kTile, kTile, kTile};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kConfig;

// gcc 12 gives constructors no target attributes.
void LoadConfig() { _tile_loadconfig(&kConfig); }
void Release() { _tile_release(); }

// Tiles: 0..3 are sums, 4 and 5 of the left, 6 and 7 of the right; intrinsics take their numbers as
// literals only.
template <int kRowTiles, int kPanels, int kPieces>
HWY_INLINE void MultiplyPanels(const UnitProduct& product, std::int64_t column) {
  const std::int64_t c_stride = product.c_stride * 4, left_stride = product.left_stride * 2;
  float* c = product.c + column;
  float* below = c + kTile * product.c_stride;
  if (product.accumulate) {
    _tile_loadd(0, c, c_stride);
    if constexpr (kRowTiles == 2) _tile_loadd(1, below, c_stride);
    if constexpr (kPanels == 2) _tile_loadd(2, c + kTile, c_stride);
    if constexpr (kRowTiles == 2 && kPanels == 2) _tile_loadd(3, below + kTile, c_stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const std::uint16_t* left = product.left;
  const std::uint16_t* right = product.right + column / kTile * product.right_panel;
  for (std::int64_t k = 0; k < product.depth; k += kUnitDepth, right += kUnitDepth * kTile) {
    _tile_loadd(6, right, 64);
    if constexpr (kPanels == 2) _tile_loadd(7, right + product.right_panel, 64);
    for (int piece = 0; piece < kPieces; ++piece, left += kUnitDepth) {
      _tile_loadd(4, left, left_stride);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (kPanels == 2) _tile_dpbf16ps(2, 4, 7);
      if constexpr (kRowTiles == 2) {
        _tile_loadd(5, left + kTile * product.left_stride, left_stride);
        _tile_dpbf16ps(1, 5, 6);
        if constexpr (kPanels == 2) _tile_dpbf16ps(3, 5, 7);
      }
    }
  }
  _tile_stored(0, c, c_stride);
  if constexpr (kRowTiles == 2) _tile_stored(1, below, c_stride);
  if constexpr (kPanels == 2) _tile_stored(2, c + kTile, c_stride);
  if constexpr (kRowTiles == 2 && kPanels == 2) _tile_stored(3, below + kTile, c_stride);
}

template <int kRowTiles, int kPieces>
void MultiplyColumns(const UnitProduct& product, std::int64_t begin, std::int64_t end) {
  std::int64_t column = begin;
  for (; column + 2 * kTile <= end; column += 2 * kTile) {
    MultiplyPanels<kRowTiles, 2, kPieces>(product, column);
  }
  if (column < end) MultiplyPanels<kRowTiles, 1, kPieces>(product, column);
}

template <int kRowTiles>
void MultiplyRows(const UnitProduct& product, std::int64_t begin, std::int64_t end) {
  if (product.left_pieces == 1) return MultiplyColumns<kRowTiles, 1>(product, begin, end);
  MultiplyColumns<kRowTiles, 2>(product, begin, end);
}

}  // namespace

MatrixUnit::MatrixUnit() { LoadConfig(); }

MatrixUnit::~MatrixUnit() { Release(); }

void MultiplyByUnit(std::int64_t rows, const UnitProduct& product, std::int64_t begin,
                    std::int64_t end) {
  if (rows <= kTile) return MultiplyRows<1>(product, begin, end);
  MultiplyRows<2>(product, begin, end);
}

}  // namespace foveate
HWY_POP_ATTRIBUTES
#endif  // x86
