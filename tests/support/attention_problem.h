// One call of the attention operator with random numbers, and the same call as the oracle sees it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "kernels/attention_kernels.h"
#include "reference/attention_oracle.h"
#include "tests/support/held_tensor.h"
#include "tests/support/isas.h"

namespace foveate::testing {

struct AttentionSizes {
  std::int64_t batches = 1, heads = 1, kv_heads = 1;
  std::int64_t rows = 1, keys = 1;
  std::int64_t key_dim = 1, value_dim = 1;
};

struct AttentionProblem {
  AttentionSizes sizes;
  HeldTensor query, key, value;
  AttentionOptions options;
  std::vector<float> bias;  // what options.bias looks at
  // (head, row, key); none: what the patterns of the options say of single elements.
  std::function<bool(std::int64_t, std::int64_t, std::int64_t)> mask;

  // Standard normal numbers, f32 and dense; other tensors may take their place.
  AttentionProblem(const AttentionSizes& s, std::mt19937& random) : sizes(s) {
    query = HeldTensor({s.batches, s.heads, s.rows, s.key_dim}, ElementType::kF32, Order::kDense);
    key = HeldTensor({s.batches, s.kv_heads, s.keys, s.key_dim}, ElementType::kF32, Order::kDense);
    value =
        HeldTensor({s.batches, s.kv_heads, s.keys, s.value_dim}, ElementType::kF32, Order::kDense);
    for (HeldTensor* tensor : {&query, &key, &value}) tensor->Randomise(random, 0, 1);
  }
  AttentionProblem(const AttentionProblem&) = delete;  // options.bias looks into it

  void SetBias(const std::array<std::int64_t, 4>& shape, std::vector<float> values) {
    bias = std::move(values);
    options.bias = MakeView<const float>(bias.data(), shape[0], shape[1], shape[2], shape[3]);
  }

  // The same numbers, rounded, as dense tensors of another type.
  void ConvertTo(ElementType type) {
    for (HeldTensor* tensor : {&query, &key, &value}) {
      HeldTensor converted(tensor->shape(), type, Order::kDense);
      converted.ForEach(
          [&](auto... at) { converted.Set(at..., static_cast<float>(tensor->Get(at...))); });
      *tensor = std::move(converted);
    }
  }

  AttentionShape shape() const { return {sizes.rows, sizes.keys}; }

  bool Attends(std::int64_t head, std::int64_t row, std::int64_t key_at) const {
    if (mask) return mask(head, row, key_at);
    const PatternPtr& pattern =
        options.head_patterns.empty() ? options.pattern : options.head_patterns[head];
    return pattern == nullptr || pattern->Attends(shape(), row, key_at);
  }

  double ScaleUsed() const {
    return options.scale ? double{*options.scale} : 1 / std::sqrt(double(sizes.key_dim));
  }

  // As the oracle sees it.
  reference::AttentionProblem Exact() const {
    const AttentionSizes& s = sizes;
    reference::AttentionProblem p{.batches = s.batches,
                                  .heads = s.heads,
                                  .kv_heads = s.kv_heads,
                                  .rows = s.rows,
                                  .keys = s.keys,
                                  .key_dim = s.key_dim,
                                  .value_dim = s.value_dim,
                                  .q = query.Values(),
                                  .k = key.Values(),
                                  .v = value.Values(),
                                  .scale = ScaleUsed(),
                                  .soft_cap = options.soft_cap};
    p.slopes.assign(options.alibi_slopes.begin(), options.alibi_slopes.end());
    p.sinks.assign(options.sinks.begin(), options.sinks.end());
    p.mask = [this](auto... at) { return Attends(at...); };
    if (options.bias.data != nullptr) {
      p.bias = [this](std::int64_t b, std::int64_t h, std::int64_t r, std::int64_t j) -> double {
        const auto& n = options.bias.shape;
        return options.bias(b % n[0], h % n[1], r % n[2], j % n[3]);  // an extent of 1 repeats
      };
    }
    return p;
  }
  reference::AttentionAnswer Solve() const { return reference::SolveAttention(Exact()); }
};

// Kernels that differ: of every instruction set, and of a matrix unit, which takes bfloat16 alone.
struct AttentionWay {
  Isa isa;
  ElementType type;
};
inline std::vector<AttentionWay> AttentionWays() {
  std::vector<AttentionWay> ways;
  for (const Isa isa : DistinctIsas(AttentionKernelsFor)) {
    ways.push_back({isa, ElementType::kF32});
    if (HasMatrixUnit(isa)) ways.push_back({isa, ElementType::kBF16});
  }
  return ways;
}

struct AttentionResult {
  HeldTensor out;
  std::vector<float> lse;  // [B, H, N]

  // Bit for bit, NaNs included.
  bool operator==(const AttentionResult& other) const {
    return out == other.out && lse.size() == other.lse.size() &&
           (lse.empty() ||
            std::memcmp(lse.data(), other.lse.data(), lse.size() * sizeof(float)) == 0);
  }
};

inline AttentionResult RunOperator(Context& context, const AttentionProblem& problem,
                                   ElementType type = ElementType::kF32,
                                   Order order = Order::kDense) {
  const AttentionSizes& s = problem.sizes;
  AttentionResult result{HeldTensor({s.batches, s.heads, s.rows, s.value_dim}, type, order),
                         std::vector<float>(s.batches * s.heads * s.rows, 77.0f)};
  AttentionScratch scratch;
  Attention(context, {problem.query.ref(), problem.key.ref(), problem.value.ref()}, problem.options,
            scratch,
            {result.out.mutable_ref(), MakeView(result.lse.data(), s.batches, s.heads, s.rows)});
  return result;
}

// Half a unit in the last place of the output's type.
inline double RoundingOf(ElementType type, double value) {
  switch (type) {
    case ElementType::kF32: return 0;
    case ElementType::kF16: return std::abs(value) * 0x1p-11 + 0x1p-25;
    case ElementType::kBF16: return std::abs(value) * 0x1p-8;
  }
  return 0;
}

// Every row within its bound and `more`; rows that attend nothing are zeros and -infinity, exactly.
inline void ExpectAnswer(const AttentionResult& result, const reference::AttentionAnswer& answer,
                         double more = 0) {
  const auto [batches, heads, rows, dim] = result.out.shape();
  const std::vector<double> out = result.out.Values();
  ASSERT_EQ(out.size(), answer.out.size());
  for (std::int64_t i = 0; i < batches * heads * rows; ++i) {
    const std::string at =
        fmt::format("batch {} head {} row {}", i / rows / heads, i / rows % heads, i % rows);
    if (std::isinf(answer.lse[i])) {
      ASSERT_EQ(result.lse[i], answer.lse[i]) << at;
    } else {
      ASSERT_NEAR(result.lse[i], answer.lse[i], answer.lse_bound[i]) << at;
    }
    for (std::int64_t d = i * dim; d < (i + 1) * dim; ++d) {
      const double allowed = answer.bound[i] + RoundingOf(result.out.type(), answer.out[d]) + more;
      ASSERT_NEAR(out[d], answer.out[d], allowed) << at << " dimension " << d % dim;
    }
  }
  result.out.ExpectGapsUnused();
}

}  // namespace foveate::testing
