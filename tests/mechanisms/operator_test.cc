// Every mechanism through the attention operator, against the float64 oracle and its definition.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/attention_kernels.h"
#include "mechanisms/registry.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/definition.h"
#include "tests/mechanisms/random_spec.h"
#include "tests/support/attention_gradient.h"
#include "tests/support/attention_problem.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using namespace testing;

constexpr AttentionSizes kSizes{
    .batches = 2, .heads = 6, .kv_heads = 2, .key_dim = 24, .value_dim = 20};

AttentionSizes SizesOf(const AttentionShape& shape) {
  AttentionSizes sizes = kSizes;
  sizes.rows = shape.queries;
  sizes.keys = shape.keys;
  return sizes;
}

// Forward and backward.
void ExpectAgrees(const AttentionProblem& problem) {
  const reference::AttentionAnswer answer = problem.Solve();
  std::mt19937 random(3);
  const HeldTensor dout = RandomDout(problem, {}, random);
  const reference::AttentionGradientAnswer gradients = SolveGradient(problem, dout);
  for (const Isa isa : DistinctIsas(AttentionKernelsFor)) {
    SCOPED_TRACE(IsaName(isa));
    Context context({.threads = 2, .isa = isa});
    const AttentionResult result = RunOperator(context, problem);
    ExpectAnswer(result, answer);
    ExpectGradients(RunBackward(context, problem, result, dout), gradients);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

class MechanismInOperator : public ::testing::TestWithParam<const Mechanism*> {
 protected:
  void ExpectDefined(const AttentionSpec& spec, const AttentionShape& shape) {
    SCOPED_TRACE(fmt::format("{} n{} m{}", ToText(spec), shape.queries, shape.keys));
    AttentionProblem problem(SizesOf(shape), random_);
    problem.options.pattern = spec.At(0, 0).pattern;
    const Definition definition(json::parse(ToJson(spec)), shape.queries, shape.keys);
    problem.mask = [&](std::int64_t, std::int64_t row, std::int64_t key) {
      return definition(row, key);
    };
    ExpectAgrees(problem);
  }

  std::mt19937 random_{1};
};

TEST_P(MechanismInOperator, ExamplesAgreeWithTheOracle) {
  for (const Example& example : GetParam()->examples) {
    ExpectDefined(ParseAttentionSpec(example.spec), {example.queries, example.keys});
    if (HasFatalFailure()) return;
  }
}

TEST_P(MechanismInOperator, RandomSpecsAgreeWithTheOracle) {
  Draw draw{std::mt19937(5)};
  for (int i = 0; i < 6; ++i) {
    const AttentionShape shape = RandomShape(*GetParam(), draw);
    const auto spec = SpecDraw(*GetParam(), shape, draw)();
    if (spec) ExpectDefined(ParseAttentionJson(spec->dump()), shape);
    if (HasFatalFailure()) return;
  }
}

std::vector<const Mechanism*> Patterns() {
  std::vector<const Mechanism*> patterns;
  for (const Mechanism& mechanism : Mechanisms()) {
    if (mechanism.pattern != nullptr) patterns.push_back(&mechanism);
  }
  return patterns;
}

INSTANTIATE_TEST_SUITE_P(Registry, MechanismInOperator, ::testing::ValuesIn(Patterns()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(SpecsInOperator, CompositionsAndHeadsAgreeWithTheOracle) {
  std::mt19937 random(2);
  for (const char* text : {
           "causal & dilated:dilation=3,count=9",
           "window:left=20,right=0 | dilated:dilation=16,count=12",
           "(prefix_lm:prefix=30 | global_window:left=5,global=2) & window:left=90,right=40",
           "causal & (block_causal:block=16 | sink_window:sink=4,left=10) & power:block=4",
           "heads(0-1=full;2-=window:size=16)",
           "heads(0=causal;1-3=window:left=3,right=3 | sink_window:sink=2,left=0;4-=power:block=8)",
           "heads(0=full;1=causal;2=window:size=1;3=window:size=2;4=window:size=3;5=window:size=4)",
       }) {
    for (const AttentionShape shape : {AttentionShape{150, 150}, {1, 130}, {67, 200}, {90, 33}}) {
      SCOPED_TRACE(fmt::format("{} n{} m{}", text, shape.queries, shape.keys));
      const AttentionSpec spec = ParseAttentionSpec(text);
      AttentionProblem problem(SizesOf(shape), random);
      for (std::int64_t head = 0; head < kSizes.heads; ++head) {
        problem.options.head_patterns.push_back(spec.At(0, head).pattern);
      }
      ExpectAgrees(problem);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace foveate
