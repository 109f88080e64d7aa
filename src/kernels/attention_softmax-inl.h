// Scores to probabilities, one row of a piece at a time, and the algebra of softmax states.
#include <cstdint>
#include <limits>

#include "kernels/attention_kernels.h"

#if defined(FOVEATE_KERNELS_ATTENTION_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEATE_KERNELS_ATTENTION_SOFTMAX_INL_H_
#undef FOVEATE_KERNELS_ATTENTION_SOFTMAX_INL_H_
#else
#define FOVEATE_KERNELS_ATTENTION_SOFTMAX_INL_H_
#endif

#include "kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Columns [begin, end) of a piece.
struct Columns {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool empty() const { return begin >= end; }
};

HWY_INLINE Columns WholePanels(Columns columns) {
  return {columns.begin / kPanel * kPanel, RoundUp(columns.end, kPanel)};
}

HWY_INLINE void Fill(float* values, std::int64_t begin, std::int64_t end, float value) {
  for (std::int64_t i = begin; i < end; ++i) values[i] = value;
}

// Four running vectors, so that neither the latency of max nor of add counts.
inline constexpr int kChains = 4;

// In place: scores become e^(s - m) in `visible`, zero elsewhere in `computed` (whole panels, read
// as they are: whatever stands outside `visible` is not used). Returns m and d.
HWY_INLINE void SoftmaxRow(float* scores, Columns visible, Columns computed, float soft_cap,
                           float* m, float* d) {
  *m = kMinusInfinity;
  *d = 0.0f;
  if (visible.empty()) return Fill(scores, computed.begin, computed.end, 0.0f);
  const Columns panels = WholePanels(visible);
  if (soft_cap > 0) {
    const VF cap = Set(soft_cap);
    const VF inverse = Set(1.0f / soft_cap);
    for (std::int64_t i = panels.begin; i < panels.end; i += kLanes) {
      Store(Mul(cap, Tanh(Mul(Load(scores + i), inverse))), scores + i);
    }
  }
  Fill(scores, panels.begin, visible.begin, kMinusInfinity);
  Fill(scores, visible.end, panels.end, kMinusInfinity);

  VF largest[kChains];
  for (VF& chain : largest) chain = Set(kMinusInfinity);
  for (std::int64_t i = panels.begin; i < panels.end; i += kPanel) {
    for (int v = 0; v < kPanel / kLanes; ++v) {
      largest[v % kChains] = Max(largest[v % kChains], Load(scores + i + v * kLanes));
    }
  }
  *m = ReduceMax(Max(Max(largest[0], largest[1]), Max(largest[2], largest[3])));
  // All scores of the row may be -infinity; the difference would be NaN.
  if (*m == kMinusInfinity) return Fill(scores, computed.begin, computed.end, 0.0f);

  VF sum[kChains];
  for (VF& chain : sum) chain = Zero();
  const VF shift = Set(*m);
  for (std::int64_t i = panels.begin; i < panels.end; i += kPanel) {
    for (int v = 0; v < kPanel / kLanes; ++v) {
      const VF p = ExpNonPositive(Sub(Load(scores + i + v * kLanes), shift));
      Store(p, scores + i + v * kLanes);
      sum[v % kChains] = Add(sum[v % kChains], p);
    }
  }
  *d = ReduceSum(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
  Fill(scores, computed.begin, panels.begin, 0.0f);
  Fill(scores, panels.end, computed.end, 0.0f);
}

// e^(m - new m), 0 for an empty state; elementwise over the padded rows.
HWY_INLINE VF FoldWeight(VF m, VF merged) {
  return IfLess(Set(kMinusInfinity), m, ExpNonPositive(Sub(m, merged)), Zero());
}

inline void Fold(std::int64_t rows, std::int64_t width, const SoftmaxState& piece,
                 const SoftmaxState& total) {
  for (std::int64_t first = 0; first < rows; first += kPanel) {
    float keep[kPanel];
    float take[kPanel];
    for (std::int64_t i = 0; i < kPanel; i += kLanes) {
      const VF m_total = Load(total.m + first + i);
      const VF m_piece = Load(piece.m + first + i);
      const VF merged = Max(m_total, m_piece);
      const VF weight_total = FoldWeight(m_total, merged);
      const VF weight_piece = FoldWeight(m_piece, merged);
      const VF d = MulAdd(Load(piece.d + first + i), weight_piece,
                          Mul(Load(total.d + first + i), weight_total));
      Store(merged, total.m + first + i);
      Store(d, total.d + first + i);
      Store(weight_total, keep + i);
      Store(weight_piece, take + i);
    }
    for (std::int64_t row = first; row < first + kPanel && row < rows; ++row) {
      const VF kept = Set(keep[row - first]);
      const VF taken = Set(take[row - first]);
      float* o = total.o + row * width;
      const float* more = piece.o + row * width;
      for (std::int64_t i = 0; i < width; i += kLanes) {
        Store(MulAdd(Load(more + i), taken, Mul(Load(o + i), kept)), o + i);
      }
    }
  }
}

inline void Normalise(std::int64_t rows, std::int64_t width, const SoftmaxState& state) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const VF inverse = Set(state.d[row] > 0 ? 1.0f / state.d[row] : 0.0f);
    float* o = state.o + row * width;
    for (std::int64_t i = 0; i < width; i += kLanes) Store(Mul(Load(o + i), inverse), o + i);
  }
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
