// Rows of plain tensors into the panels of packed pages.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "foveate/tensor_ref.h"
#include "kernels/attention_kernels.h"

#if defined(FOVEATE_KERNELS_ATTENTION_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_PACK_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_PACK_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_PACK_INL_H_
#endif

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

HWY_INLINE VF LoadElements(const float* from) { return Load(from); }
HWY_INLINE VF LoadElements(const Half* from) { return LoadHalf(from); }
HWY_INLINE VF LoadElements(const BFloat16* from) { return LoadBFloat16(from); }
HWY_INLINE float Widened(float value) { return value; }
HWY_INLINE float Widened(Half value) { return ToFloat(value); }
HWY_INLINE float Widened(BFloat16 value) { return ToFloat(value); }

// Rows that are read once, keys and values in turn, are streams which the hardware's prefetching
// loses at every turn. Asked for far ahead and into L2: a fetch into L1 holds one of its few miss
// buffers for the whole latency of the memory, which bounds a core to a third of its bandwidth.
inline constexpr std::int64_t kPackAhead = 4096;  // bytes
template <typename T>
HWY_INLINE void FetchAhead(const T* from) {
  __builtin_prefetch(reinterpret_cast<const char*>(from) + kPackAhead, 0, 2);
}

// to = from, `count` elements that lie `stride` apart.
template <typename T>
HWY_INLINE void WidenElements(const T* from, std::int64_t stride, std::int64_t count, float* to) {
  std::int64_t i = 0;
  if (stride == 1) {
    for (; i + kLanes <= count; i += kLanes) Store(LoadElements(from + i), to + i);
  }
  for (; i < count; ++i) to[i] = Widened(from[i * stride]);
}

void WidenRow(const std::byte* from, ElementType type, std::int64_t stride, std::int64_t count,
              float* to) {
  switch (type) {
    case ElementType::kF32:
      return WidenElements(reinterpret_cast<const float*>(from), stride, count, to);
    case ElementType::kF16:
      return WidenElements(reinterpret_cast<const Half*>(from), stride, count, to);
    case ElementType::kBF16:
      return WidenElements(reinterpret_cast<const BFloat16*>(from), stride, count, to);
  }
}

// kVectors * kLanes dimensions of four keys become four columns of a panel. Loads come in the order
// of memory, which is what the hardware's prefetching follows.
template <int kVectors, typename T>
HWY_INLINE void PackFourKeys(const T* keys, std::int64_t key_stride, std::int64_t count,
                             float* to) {
  VF v[kVectors][4];
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      const T* key = keys + i * key_stride + j * kLanes;
      FetchAhead(key);
      v[j][i] = i < count ? LoadElements(key) : Zero();
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    TransposeFours(v[j]);
    float lanes[4][kLanes];
    for (int i = 0; i < 4; ++i) Store(v[j][i], lanes[i]);
    for (int i = 0; i < kLanes; ++i) {
      std::memcpy(to + (j * kLanes + i) * kPanel, lanes[i % 4] + i / 4 * 4, 4 * sizeof(float));
    }
  }
}

// Four keys, fewer at the end: by whole vectors where dimensions lie side by side. Keys behind the
// last are zeros.
template <typename T>
HWY_INLINE void PackFourKeys(const T* keys, std::int64_t key_stride, std::int64_t stride,
                             std::int64_t count, std::int64_t dim, float* to) {
  constexpr int kAtOnce = kVectorRegisters / 8;
  std::int64_t d = 0;
  if (stride == 1) {
    for (; d + kAtOnce * kLanes <= dim; d += kAtOnce * kLanes) {
      PackFourKeys<kAtOnce>(keys + d, key_stride, count, to + d * kPanel);
    }
    for (; d + kLanes <= dim; d += kLanes) {
      PackFourKeys<1>(keys + d, key_stride, count, to + d * kPanel);
    }
  }
  for (; d < dim; ++d) {
    for (int i = 0; i < 4; ++i) {
      to[d * kPanel + i] = i < count ? Widened(keys[i * key_stride + d * stride]) : 0.0f;
    }
  }
}

template <typename T>
HWY_INLINE void PackKeysOf(const TensorRef<2>& keys, float* page) {
  const auto [count, dim] = keys.shape;
  for (std::int64_t key = 0; key < kPageKeys; key += 4) {
    PackFourKeys(reinterpret_cast<const T*>(keys.At(key)), keys.strides[0], keys.strides[1],
                 count - key, dim, page + key / kPanel * kPanel * dim + key % kPanel);
  }
}

void PackKeys(const TensorRef<2>& keys, float* page) {
  switch (keys.type) {
    case ElementType::kF32: return PackKeysOf<float>(keys, page);
    case ElementType::kF16: return PackKeysOf<Half>(keys, page);
    case ElementType::kBF16: return PackKeysOf<BFloat16>(keys, page);
  }
}

template <typename T>
HWY_INLINE void PackValuesOf(const TensorRef<2>& values, std::int64_t panel, float* page) {
  const auto [count, dim] = values.shape;
  for (std::int64_t key = 0; key < count; ++key) {
    const T* from = reinterpret_cast<const T*>(values.At(key));
    float* to = page + key * kPanel;
    for (std::int64_t i = 0; i < dim; i += kPanel, to += panel) {
      const std::int64_t columns = std::min(dim - i, kPanel);
      FetchAhead(from + i * values.strides[1]);
      WidenElements(from + i * values.strides[1], values.strides[1], columns, to);
      std::fill(to + columns, to + kPanel, 0.0f);
    }
  }
  for (std::int64_t i = 0; i < dim; i += kPanel) {
    float* behind = page + i / kPanel * panel + count * kPanel;
    std::fill(behind, behind + (kPageKeys - count) * kPanel, 0.0f);
  }
}

void PackValues(const TensorRef<2>& values, std::int64_t panel, float* page) {
  switch (values.type) {
    case ElementType::kF32: return PackValuesOf<float>(values, panel, page);
    case ElementType::kF16: return PackValuesOf<Half>(values, panel, page);
    case ElementType::kBF16: return PackValuesOf<BFloat16>(values, panel, page);
  }
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
