// The backward pass on a problem, after the forward pass, and what the oracle says of it.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "attention/attention_backward.h"
#include "reference/attention_gradient_oracle.h"
#include "tests/support/attention_problem.h"

namespace foveate::testing {

struct GradientResult {
  HeldTensor dquery, dkey, dvalue;
  std::vector<float> dsinks;  // [H], empty without sinks

  // Bit for bit, NaNs included.
  bool operator==(const GradientResult& other) const {
    return dquery == other.dquery && dkey == other.dkey && dvalue == other.dvalue &&
           dsinks.size() == other.dsinks.size() &&
           (dsinks.empty() ||
            std::memcmp(dsinks.data(), other.dsinks.data(), dsinks.size() * sizeof(float)) == 0);
  }
};

// How the tensors of the backward pass are stored.
struct GradientStorage {
  ElementType out = ElementType::kF32;  // and dout
  ElementType gradient = ElementType::kF32;
  Order order = Order::kDense;
};

inline HeldTensor RandomDout(const AttentionProblem& problem, const GradientStorage& storage,
                             std::mt19937& random) {
  const AttentionSizes& s = problem.sizes;
  HeldTensor dout({s.batches, s.heads, s.rows, s.value_dim}, storage.out, storage.order);
  dout.Randomise(random, 0, 1);
  return dout;
}

inline GradientResult RunBackward(Context& context, const AttentionProblem& problem,
                                  const AttentionResult& forward, const HeldTensor& dout,
                                  const GradientStorage& storage = {}) {
  const AttentionSizes& s = problem.sizes;
  GradientResult result{HeldTensor(problem.query.shape(), storage.gradient, storage.order),
                        HeldTensor(problem.key.shape(), storage.gradient, storage.order),
                        HeldTensor(problem.value.shape(), storage.gradient, storage.order),
                        std::vector<float>(problem.options.sinks.size(), 77.0f)};
  AttentionGradients gradients{result.dquery.mutable_ref(), result.dkey.mutable_ref(),
                               result.dvalue.mutable_ref()};
  if (!result.dsinks.empty()) gradients.dsinks = MakeView(result.dsinks.data(), s.heads);
  AttentionScratch scratch;
  AttentionBackward(context,
                    {{problem.query.ref(), problem.key.ref(), problem.value.ref()},
                     forward.out.ref(),
                     MakeView(forward.lse.data(), s.batches, s.heads, s.rows),
                     dout.ref()},
                    problem.options, scratch, gradients);
  return result;
}

inline GradientResult RunForwardAndBackward(Context& context, const AttentionProblem& problem,
                                            const HeldTensor& dout,
                                            const GradientStorage& storage = {}) {
  return RunBackward(context, problem, RunOperator(context, problem, storage.out, storage.order),
                     dout, storage);
}

inline reference::AttentionGradientAnswer SolveGradient(const AttentionProblem& problem,
                                                        const HeldTensor& dout,
                                                        const GradientStorage& storage = {}) {
  return reference::SolveAttentionGradient(problem.Exact(), dout.Values(),
                                           RoundingOf(storage.out, 1));
}

inline void ExpectWithin(const char* name, const HeldTensor& tensor,
                         const std::vector<double>& expected, const std::vector<double>& bound) {
  const std::vector<double> values = tensor.Values();
  ASSERT_EQ(values.size(), expected.size()) << name;
  for (std::size_t i = 0; i < values.size(); ++i) {
    // 1e-30: what is as small as that may be rounded to zero.
    ASSERT_NEAR(values[i], expected[i], bound[i] + RoundingOf(tensor.type(), expected[i]) + 1e-30)
        << name << " element " << i;
  }
  tensor.ExpectGapsUnused();
}

inline void ExpectGradients(const GradientResult& result,
                            const reference::AttentionGradientAnswer& answer) {
  ExpectWithin("dquery", result.dquery, answer.dq, answer.dq_bound);
  ExpectWithin("dkey", result.dkey, answer.dk, answer.dk_bound);
  ExpectWithin("dvalue", result.dvalue, answer.dv, answer.dv_bound);
  for (std::size_t h = 0; h < result.dsinks.size(); ++h) {
    ASSERT_NEAR(result.dsinks[h], answer.dsinks[h],
                answer.dsinks_bound[h] + std::abs(answer.dsinks[h]) * 0x1p-24)
        << "head " << h;
  }
}

}  // namespace foveate::testing
