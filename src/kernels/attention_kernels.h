// The SIMD half of attention: one block of query rows against one piece of the keys.
//
// A piece is 256 positions (four pages) that begin at a multiple of 256, so the cut is the same for
// every query, whatever the number of threads or the length of the chunk it came in. Within a piece
// the softmax has one maximum; pieces are folded together in order by the (o, m, d) rule. Every
// score and every output is accumulated in one fixed order (over D, over keys) by all code paths,
// so results are bitwise the same whether a row is computed alone or in a block, straight from the
// stored type or from a converted page.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "kernels/attention_page.h"

namespace foveate {

// Rows are padded to this (with zeros in the queries) where scratch memory is sized.
inline constexpr std::int64_t kRowStep = 6;

// Up to this many rows read pages in their stored type (decode); more convert each page once.
inline constexpr std::int64_t kDirectRows = 8;

// Softmax over some keys before normalisation: o = sum of e^(s - m) v, d = sum of e^(s - m);
// m and d have room for a multiple of kPanel rows.
struct SoftmaxState {
  float* o = nullptr;  // [rows rounded up to kRowStep][value_width]
  float* m = nullptr;  // [rows], -infinity where no key was visible
  float* d = nullptr;  // [rows], 0 there
};

// Rows are (token, query head of the group) pairs in that order: row r belongs to the token at
// position first_position + r / group and sees keys (position - window, position].
struct AttentionRows {
  const float* queries = nullptr;  // [rows rounded up to kRowStep][D], scaled
  std::int64_t count = 0;
  std::int64_t group = 1;
  std::int64_t first_position = 0;
  std::int64_t window = 0;  // 0: all
  float soft_cap = 0;       // 0: none
};

// Pages of one KV head; page i holds positions first_key + 64 i and on. Positions beyond the last
// row's are never read into a result.
struct AttentionPiece {
  std::array<const std::byte*, kPiecePages> keys{};
  std::array<const std::byte*, kPiecePages> values{};
  std::int64_t pages = 0;
  std::int64_t first_key = 0;
};

struct AttentionKernels {
  // Writes one position, column = position % 64, of a page's keys or values. Rows are padded with
  // zeros to a multiple of kPanel.
  void (*store_key)(const PageLayout& layout, std::byte* block, std::int64_t column,
                    const float* row);
  void (*store_value)(const PageLayout& layout, std::byte* block, std::int64_t column,
                      const float* row);

  // state = softmax state of the rows over the piece. `scratch`: PieceScratch(layout, rows) floats.
  void (*attend)(const PageLayout& layout, const AttentionRows& rows, const AttentionPiece& piece,
                 float* scratch, const SoftmaxState& state);

  // total = total merged with `piece`; an empty state is the identity.
  void (*fold)(std::int64_t rows, std::int64_t width, const SoftmaxState& piece,
               const SoftmaxState& total);

  // o /= d; rows that saw no key become zero.
  void (*normalise)(std::int64_t rows, std::int64_t width, const SoftmaxState& state);
};

const AttentionKernels& AttentionKernelsFor(Isa isa);

// Floats that attend() works in: a tile of scores, one converted page, one page's q8_0 scales.
inline constexpr std::int64_t kScoreStride =
    kPieceKeys + kPanel;  // not a power of two: L1 has sets
inline std::int64_t PieceScratch(const PageLayout& layout, std::int64_t rows) {
  const std::int64_t widest =
      layout.key_dim > layout.value_width() ? layout.key_dim : layout.value_width();
  return RoundUp(rows, kRowStep) * kScoreStride + kPageKeys * (widest + widest / kQ8Block);
}

}  // namespace foveate
