// The oracle's gradients against differences of the oracle's outputs.
#include "reference/attention_gradient_oracle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace foveate::reference {
namespace {

std::vector<double> Random(std::size_t count, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  for (double& value : values) value = normal(random);
  return values;
}

double Loss(const AttentionProblem& problem, const std::vector<double>& dout) {
  const std::vector<double> out = SolveAttention(problem).out;
  double loss = 0;
  for (std::size_t i = 0; i < out.size(); ++i) loss += dout[i] * out[i];
  return loss;
}

// Central differences of the loss by every element of `numbers`, which is part of the problem.
void ExpectDifferences(AttentionProblem& problem, const std::vector<double>& dout,
                       std::vector<double>& numbers, const std::vector<double>& gradient) {
  constexpr double kStep = 1e-5;
  ASSERT_EQ(numbers.size(), gradient.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double number = numbers[i];
    numbers[i] = number + kStep;
    const double above = Loss(problem, dout);
    numbers[i] = number - kStep;
    const double below = Loss(problem, dout);
    numbers[i] = number;
    ASSERT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-7) << "element " << i;
  }
}

void ExpectGradients(AttentionProblem& problem, std::mt19937& random) {
  const auto dout =
      Random(problem.batches * problem.heads * problem.rows * problem.value_dim, random);
  const AttentionGradientAnswer answer = SolveAttentionGradient(problem, dout);
  ExpectDifferences(problem, dout, problem.q, answer.dq);
  ExpectDifferences(problem, dout, problem.k, answer.dk);
  ExpectDifferences(problem, dout, problem.v, answer.dv);
  ExpectDifferences(problem, dout, problem.sinks, answer.dsinks);
}

AttentionProblem Problem(std::mt19937& random) {
  AttentionProblem problem{.batches = 2,
                           .heads = 4,
                           .kv_heads = 2,
                           .rows = 5,
                           .keys = 7,
                           .key_dim = 3,
                           .value_dim = 2,
                           .scale = 0.7};
  problem.q = Random(2 * 4 * 5 * 3, random);
  problem.k = Random(2 * 2 * 7 * 3, random);
  problem.v = Random(2 * 2 * 7 * 2, random);
  return problem;
}

TEST(AttentionGradientOracle, Plain) {
  std::mt19937 random(1);
  AttentionProblem problem = Problem(random);
  ExpectGradients(problem, random);
}

TEST(AttentionGradientOracle, MasksAndEmptyRows) {
  std::mt19937 random(2);
  AttentionProblem problem = Problem(random);
  problem.mask = [](std::int64_t head, std::int64_t row, std::int64_t key) {
    return row != 1 && (row + key + head) % 3 != 0;
  };
  ExpectGradients(problem, random);
}

TEST(AttentionGradientOracle, EveryScoreOperation) {
  std::mt19937 random(3);
  AttentionProblem problem = Problem(random);
  problem.soft_cap = 1.5;
  problem.slopes = {0.5, 0.25, 0.1, 0.01};
  problem.sinks = {0.3, -1, 2, 0};
  problem.bias = [](std::int64_t batch, std::int64_t head, std::int64_t row, std::int64_t key) {
    return (row + key) % 4 == 0 ? -INFINITY : 0.1 * static_cast<double>(batch + head - row);
  };
  ExpectGradients(problem, random);
}

}  // namespace
}  // namespace foveate::reference
