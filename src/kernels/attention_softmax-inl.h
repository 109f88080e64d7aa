// Scores to probabilities, one row of a step at a time, and the algebra of softmax states.
#include <array>
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

// Columns [begin, end) of a row of scores.
struct Columns {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool empty() const { return begin >= end; }
};

HWY_INLINE Columns WholePanels(Columns columns) {
  return {columns.begin / kPanel * kPanel, RoundUp(columns.end, kPanel)};
}

// --- score operations ---

HWY_INLINE void SoftCap(float* scores, Columns columns, float soft_cap) {
  const VF cap = Set(soft_cap);
  const VF inverse = Set(1.0f / soft_cap);
  for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
    Store(Mul(cap, Tanh(Mul(Load(scores + i), inverse))), scores + i);
  }
}

// `distance`: from the key of scores[0] to the row's position.
HWY_INLINE void Alibi(float* scores, Columns columns, float slope, std::int64_t distance) {
  for (std::int64_t i = columns.begin; i < columns.end; ++i) {
    const std::int64_t apart = distance - i;
    scores[i] -= slope * static_cast<float>(apart < 0 ? -apart : apart);
  }
}

// Reads the bias of visible keys only: there is none behind the last one.
HWY_INLINE void AddBias(float* scores, std::uint64_t visible, const float* bias,
                        std::int64_t stride) {
  for (; visible != 0; visible &= visible - 1) {
    const int i = __builtin_ctzll(visible);
    const float b = bias[i * stride];
    scores[i] = b <= kHidden ? kMinusInfinity : scores[i] + b;
  }
}

HWY_INLINE void Multiply(float* scores, Columns columns, float factor) {
  for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
    Store(Mul(Load(scores + i), Set(factor)), scores + i);
  }
}

// -infinity where the bit of a column in [begin, end) is not set.
HWY_INLINE void Hide(float* scores, Columns columns, std::uint64_t visible) {
  std::uint64_t hidden = ~visible >> columns.begin << columns.begin;
  if (columns.end < 64) hidden &= (std::uint64_t{1} << columns.end) - 1;
  for (std::int64_t i = columns.begin; i < columns.end; i += kLanes) {
    if ((hidden >> i & ((std::uint64_t{1} << kLanes) - 1)) == 0) continue;
    Store(HideLanes(Load(scores + i), hidden >> i, Set(kMinusInfinity)), scores + i);
  }
}

// --- softmax ---

// Four running vectors, so that neither the latency of max nor of add counts.
inline constexpr int kChains = 4;

// Spans of columns, whole panels.
struct Spans {
  std::array<Columns, kPiecePages> at{};
  int count = 0;
};

HWY_INLINE float MaxOfRow(const float* scores, const Spans& spans) {
  VF largest[kChains];
  for (VF& chain : largest) chain = Set(kMinusInfinity);
  for (int s = 0; s < spans.count; ++s) {
    for (std::int64_t i = spans.at[s].begin; i < spans.at[s].end; i += kPanel) {
      for (int v = 0; v < kPanel / kLanes; ++v) {
        largest[v % kChains] = Max(largest[v % kChains], Load(scores + i + v * kLanes));
      }
    }
  }
  return ReduceMax(Max(Max(largest[0], largest[1]), Max(largest[2], largest[3])));
}

// In place: scores become 2^(s - m); returns their sum. A row whose scores are all -infinity, as m
// is then, becomes zeros.
HWY_INLINE float ExponentialsOfRow(float* scores, const Spans& spans, float m) {
  VF sum[kChains];
  for (VF& chain : sum) chain = Zero();
  const VF shift = Set(m == kMinusInfinity ? 0.0f : m);
  for (int s = 0; s < spans.count; ++s) {
    for (std::int64_t i = spans.at[s].begin; i < spans.at[s].end; i += kPanel) {
      for (int v = 0; v < kPanel / kLanes; ++v) {
        const VF p = Exp2NonPositive(Sub(Load(scores + i + v * kLanes), shift));
        Store(p, scores + i + v * kLanes);
        sum[v % kChains] = Add(sum[v % kChains], p);
      }
    }
  }
  return ReduceSum(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
}

// --- states ---

// 2^(m - merged), 0 for an empty state.
HWY_INLINE VF MergeWeight(VF m, VF merged) {
  return IfLess(Set(kMinusInfinity), m, Exp2NonPositive(Sub(m, merged)), Zero());
}

// What sum = a + b rounded away, exactly.
HWY_INLINE VF RoundedAway(VF a, VF b, VF sum) {
  const VF of_b = Sub(sum, a);
  return Add(Sub(a, Sub(sum, of_b)), Sub(b, of_b));
}

// sum, rest = (sum, rest) * keep + more * take.
HWY_INLINE void Accumulate(VF& sum, VF& rest, VF keep, VF more, VF take) {
  const VF kept = Mul(sum, keep);
  const VF taken = Mul(more, take);
  sum = Add(kept, taken);
  rest = MulAdd(rest, keep, RoundedAway(kept, taken, sum));
}

// Without rests that are not numbers: those of infinite sums.
HWY_INLINE VF WithRest(VF sum, VF rest) {
  return Add(sum, IfLess(Abs(rest), Set(std::numeric_limits<float>::infinity()), rest, Zero()));
}

// Up to kPanel rows.
HWY_INLINE void MergeBlock(std::int64_t rows, std::int64_t width, const SoftmaxState& more,
                           const SoftmaxState& total) {
  float keep[kPanel];
  float take[kPanel];
  for (std::int64_t i = 0; i < rows; i += kLanes) {
    const VF m_total = LoadFirst(total.m + i, rows - i);
    const VF m_more = LoadFirst(more.m + i, rows - i);
    const VF merged = Max(m_total, m_more);
    const VF weight_total = MergeWeight(m_total, merged);
    const VF weight_more = MergeWeight(m_more, merged);
    VF d = LoadFirst(total.d + i, rows - i);
    VF d_rest = LoadFirst(total.d_rest + i, rows - i);
    Accumulate(d, d_rest, weight_total, LoadFirst(more.d + i, rows - i), weight_more);
    StoreFirst(merged, total.m + i, rows - i);
    StoreFirst(d, total.d + i, rows - i);
    StoreFirst(d_rest, total.d_rest + i, rows - i);
    Store(weight_total, keep + i);
    Store(weight_more, take + i);
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const VF kept = Set(keep[row]);
    const VF taken = Set(take[row]);
    float* o = total.o + row * width;
    float* o_rest = total.o_rest + row * width;
    const float* from = more.o + row * width;
    for (std::int64_t i = 0; i < width; i += kLanes) {
      VF sum = Load(o + i);
      VF rest = Load(o_rest + i);
      Accumulate(sum, rest, kept, Load(from + i), taken);
      Store(sum, o + i);
      Store(rest, o_rest + i);
    }
  }
}

inline void Merge(std::int64_t rows, std::int64_t width, const SoftmaxState& more,
                  const SoftmaxState& total) {
  for (std::int64_t row = 0; row < rows; row += kPanel) {
    MergeBlock(std::min(rows - row, kPanel), width,
               {more.o + row * width, more.m + row, more.d + row},
               {total.o + row * width, total.m + row, total.d + row, total.o_rest + row * width,
                total.d_rest + row});
  }
}

inline void Normalise(std::int64_t rows, std::int64_t width, const SoftmaxState& state) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const float d = state.d[row] + state.d_rest[row];
    const VF inverse = Set(d != 0 ? 1.0f / d : 0.0f);
    float* o = state.o + row * width;
    const float* o_rest = state.o_rest + row * width;
    for (std::int64_t i = 0; i < width; i += kLanes) {
      Store(Mul(WithRest(Load(o + i), Load(o_rest + i)), inverse), o + i);
    }
  }
}

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
