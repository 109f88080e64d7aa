// The two micro-GEMMs of attention: c [rows][columns] (+)= a [rows][depth] * b [depth][columns].
// With a = queries, b = a key page this gives scores; with a = probabilities, b = a value page, the
// output. Every element is summed over depth in order by one chain of multiply-adds, so the shape
// of the register block does not show in the result.
#include <cstdint>

#include "base/half.h"
#include "kernels/attention_kernels.h"

#if defined(FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_GEMM_INL_H_
#endif

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

// Bytes between the rows at work, all of them asked for, and what is asked for next.
inline constexpr std::int64_t kFetchAhead = 4096;
inline constexpr std::int64_t kCacheLine = 64;

// Into L2: a fetch into L1 would hold one of its few miss buffers for the latency of the memory.
// But codes that are widened keep a core busy long enough, and profit from being in L1.
template <class Source>
inline constexpr int kFetchLevel = Source::kBits <= 8 ? 3 : 2;

// Rows of one register block: with 32 registers 8 rows by 2 panels of AVX-512 are 16 sums, and a
// tile of 64 rows has no rest; NEON has 24 sums of 6 rows, AVX2 12.
inline constexpr int kTileRows = kVectorRegisters == 32 && kLanes == 16 ? 8 : 6;

// Rows that pass over a panel while it is in L1, before the next panel: two register blocks, whose
// scores leave room for it.
inline constexpr int kBlockRows = kTileRows == 6 ? 12 : 8;
static_assert(kBlockRows <= kMaxBlockRows && kRowStep % kBlockRows == 0);

// What memory is asked for ahead of the rows at work: what follows, up to the end of a block, and
// behind that the block that is read next.
struct Ahead {
  std::uintptr_t end = UINTPTR_MAX;
  std::uintptr_t next = 0;
  HWY_INLINE std::uintptr_t At(std::uintptr_t address) const {
    return address < end ? address : next + (address - end);
  }
};

// Where b comes from: At(k, column) gives kLanes columns of row k as floats, From(k) begins at row
// k, a multiple of kDepthBlock, and knows that many rows: they are walked at a time. A stored
// element takes kBits (0: already in cache).
struct PanelSource {  // packed panels [columns / kPanel][panel_size / kPanel][kPanel]
  static constexpr std::int64_t kDepthBlock = std::int64_t{1} << 40;
  static constexpr std::int64_t kBits = 0;
  const float* data;
  std::int64_t panel_size;
  HWY_INLINE PanelSource From(std::int64_t k) const { return {data + k * kPanel, panel_size}; }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return Load(data + column / kPanel * panel_size + k * kPanel + column % kPanel);
  }
};

template <typename T>
struct RowSource {  // as they lie in a page
  static constexpr std::int64_t kDepthBlock = 16;
  static constexpr std::int64_t kBits = 8 * sizeof(T);
  const T* data;
  std::int64_t stride;
  Ahead ahead = {};
  HWY_INLINE RowSource From(std::int64_t k) const { return {data + k * stride, stride, ahead}; }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return LoadAny(data + k * stride + column);
  }

 private:
  static HWY_INLINE VF LoadAny(const float* from) { return Load(from); }
  static HWY_INLINE VF LoadAny(const Half* from) { return LoadHalf(from); }
  static HWY_INLINE VF LoadAny(const BFloat16* from) { return LoadBFloat16(from); }
};
using F32Source = RowSource<float>;
using HalfSource = RowSource<Half>;
using BFloat16Source = RowSource<BFloat16>;

// Codes, signed bytes: Q8_0's where they lie, or others that were unpacked into the cache.
template <std::int64_t kStoredBits>
struct CodeKeySource {  // rows are dimensions: 32 rows share the scales of their keys
  static constexpr std::int64_t kDepthBlock = kCodeBlock;
  static constexpr std::int64_t kBits = kStoredBits;
  const std::int8_t* data;
  std::int64_t stride;  // kPageKeys
  const float* scales;  // [depth / 32][64]
  Ahead ahead = {};
  HWY_INLINE CodeKeySource From(std::int64_t k) const {
    return {data + k * kPageKeys, kPageKeys, scales + k / kCodeBlock * kPageKeys, ahead};
  }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return Mul(LoadInt8(data + k * kPageKeys + column), Load(scales + column));
  }
};

template <std::int64_t kStoredBits>
struct CodeValueSource {  // rows are keys: 32 columns share a scale
  static constexpr std::int64_t kDepthBlock = 32;
  static constexpr std::int64_t kBits = kStoredBits;
  const std::int8_t* data;
  std::int64_t stride;
  const float* scales;  // [depth][stride / 32]
  Ahead ahead = {};
  HWY_INLINE CodeValueSource From(std::int64_t k) const {
    return {data + k * stride, stride, scales + k * (stride / kCodeBlock), ahead};
  }
  HWY_INLINE VF At(std::int64_t k, std::int64_t column) const {
    return Mul(LoadInt8(data + k * stride + column),
               Set(scales[k * (stride / kCodeBlock) + column / kCodeBlock]));
  }
};

// The left factors: element k of row r, at distances that the compiler knows. Next() are the rows
// of the next register block.
struct QueryBlock {  // packed queries [rows / kTileRows][dim][kTileRows]
  const float* data;
  std::int64_t dim;
  HWY_INLINE QueryBlock From(std::int64_t k) const { return {data + k * kTileRows, dim}; }
  HWY_INLINE QueryBlock Next() const { return {data + dim * kTileRows, dim}; }
  HWY_INLINE float At(std::int64_t r, std::int64_t k) const { return data[k * kTileRows + r]; }
};
struct ScoreBlock {  // rows of scores
  const float* data;
  HWY_INLINE ScoreBlock From(std::int64_t k) const { return {data + k}; }
  HWY_INLINE ScoreBlock Next() const { return {data + kTileRows * kScoreStride}; }
  HWY_INLINE float At(std::int64_t r, std::int64_t k) const { return data[r * kScoreStride + k]; }
};

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

// Where the products go.
struct Product {
  float* c;
  std::int64_t c_stride;
  std::int64_t depth;
  bool accumulate;     // false: c is overwritten
  bool apart = false;  // the sum, from zero, is added to c; with no depth block but the first

  Product Next() const { return {c + kTileRows * c_stride, c_stride, depth, accumulate, apart}; }
};

template <class Source>
HWY_INLINE void Fetch(std::uintptr_t from, std::int64_t bytes) {
  FOVEATE_UNROLL(4)
  for (std::int64_t i = 0; i < bytes; i += kCacheLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(from + i), 0, kFetchLevel<Source>);
  }
}

// One register block: kRows rows by kPanels panels from `column` on. Meanwhile it asks for as much
// memory as it reads, from `fetch` on.
template <int kRows, int kPanels, class Left, class Source>
HWY_INLINE void RegisterBlock(const Left& a, const Source& b, const Product& product,
                              std::int64_t column, std::uintptr_t fetch) {
  constexpr int kVectors = kPanels * static_cast<int>(kPanel) / kLanes;
  constexpr int kBytes = kPanels * static_cast<int>(kPanel * Source::kBits / 8);
  float* c = product.c + column;
  VF sum[kRows][kVectors];
  FOVEATE_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    FOVEATE_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = product.accumulate ? Load(c + r * product.c_stride + v * kLanes) : Zero();
    }
  }
  if constexpr (kBytes < kCacheLine) Fetch<Source>(fetch, product.depth * kBytes);
  // What a loop costs besides, a core that is shared with another thread cannot hide.
  FOVEATE_UNROLL(4)
  for (std::int64_t k = 0; k < product.depth; ++k) {
    if constexpr (kBytes >= kCacheLine) {
      Fetch<Source>(fetch, kBytes);
      fetch += kBytes;
    }
    // The shorter side waits in registers, the longer passes by, or the sums would spill.
    if constexpr (kRows <= kVectors) {
      VF held[kRows];
      FOVEATE_UNROLL(8)
      for (int r = 0; r < kRows; ++r) held[r] = Set(a.At(r, k));
      FOVEATE_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) {
        const VF right = b.At(k, column + v * kLanes);
        FOVEATE_UNROLL(8)
        for (int r = 0; r < kRows; ++r) sum[r][v] = MulAdd(held[r], right, sum[r][v]);
      }
    } else {
      VF held[kVectors];
      FOVEATE_UNROLL(16)
      for (int v = 0; v < kVectors; ++v) held[v] = b.At(k, column + v * kLanes);
      FOVEATE_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        const VF broadcast = Set(a.At(r, k));
        FOVEATE_UNROLL(16)
        for (int v = 0; v < kVectors; ++v) sum[r][v] = MulAdd(broadcast, held[v], sum[r][v]);
      }
    }
  }
  FOVEATE_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    FOVEATE_UNROLL(16)
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + r * product.c_stride + v * kLanes;
      Store(product.apart ? Add(Load(to), sum[r][v]) : sum[r][v], to);
    }
  }
}

// Panels that fit beside kRows rows in three quarters of the registers.
constexpr int BlockPanels(int rows) {
  const int sums = kVectorRegisters / 4 * 3;
  const int per_panel = rows * static_cast<int>(kPanel) / kLanes;
  return sums >= 4 * per_panel ? 4 : sums >= 2 * per_panel ? 2 : 1;
}

// Columns [begin, end), multiples of kPanel, of kRows rows and as many of the next register block
// if there are two.
//
// Blocks of several rows walk a stored page in strides that the hardware's prefetching does not
// follow. So they go over all columns of a few rows of b before the next few, and ask for the
// memory behind in the order it lies.
template <int kRows, int kBlocks = 1, class Left, class Source>
HWY_NOINLINE void Gemm(const Left& a, const Source& b, const Product& product, std::int64_t begin,
                       std::int64_t end) {
  constexpr int kPanels = BlockPanels(kRows);
  for (std::int64_t k = 0; k < product.depth; k += Source::kDepthBlock) {
    Product part = product;
    part.depth = std::min(Source::kDepthBlock, product.depth - k);
    part.accumulate |= k > 0;
    const Left left = a.From(k);
    const Source right = b.From(k);
    std::uintptr_t fetch = 0;
    if constexpr (Source::kBits > 0) {
      fetch = right.ahead.At(reinterpret_cast<std::uintptr_t>(right.data) + kFetchAhead +
                             Source::kDepthBlock * right.stride * Source::kBits / 8);
    }
    std::int64_t column = begin;
    for (; column + kPanels * kPanel <= end; column += kPanels * kPanel) {
      RegisterBlock<kRows, kPanels>(left, right, part, column, fetch);
      if constexpr (kBlocks == 2) {
        RegisterBlock<kRows, kPanels>(left.Next(), right, part.Next(), column, fetch);
      }
      fetch += part.depth * kPanels * kPanel * Source::kBits / 8;
    }
    if constexpr (kPanels > 1) {
      static_assert(kBlocks == 1);
      for (; column < end; column += kPanel) {
        RegisterBlock<kRows, 1>(left, right, part, column, fetch);
        fetch += part.depth * kPanel * Source::kBits / 8;
      }
    }
  }
}

// The same for a number of rows known at run time, 1 to kTileRows.
template <class Left, class Source>
HWY_INLINE void GemmTile(std::int64_t rows, const Left& a, const Source& b, const Product& product,
                         std::int64_t begin, std::int64_t end) {
  static_assert(kTileRows == 6 || kTileRows == 8);
  switch (rows) {
    case 1: return Gemm<1>(a, b, product, begin, end);
    case 2: return Gemm<2>(a, b, product, begin, end);
    case 3: return Gemm<3>(a, b, product, begin, end);
    case 4: return Gemm<4>(a, b, product, begin, end);
    case 5: return Gemm<5>(a, b, product, begin, end);
    case 6: return Gemm<6>(a, b, product, begin, end);
    default: break;
  }
  if constexpr (kTileRows == 8) {
    if (rows == 7) Gemm<7>(a, b, product, begin, end);
    if (rows == 8) Gemm<8>(a, b, product, begin, end);
  }
}

// 1 to kBlockRows.
template <class Left, class Source>
HWY_INLINE void GemmRows(std::int64_t rows, const Left& a, const Source& b, const Product& product,
                         std::int64_t begin, std::int64_t end) {
  if constexpr (kBlockRows == 2 * kTileRows) {
    if (rows == kBlockRows) return Gemm<kTileRows, 2>(a, b, product, begin, end);
    if (rows > kTileRows) GemmTile(rows - kTileRows, a.Next(), b, product.Next(), begin, end);
  }
  GemmTile(std::min<std::int64_t>(rows, kTileRows), a, b, product, begin, end);
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
