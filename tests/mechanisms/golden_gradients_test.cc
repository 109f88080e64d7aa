// Gradients of an independent float64 reference, through the operator.
#include <gtest/gtest.h>

#include "attention/attention_backward.h"
#include "kernels/attention_backward_kernels.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using testing::GoldenFile;

class GoldenGradients : public ::testing::TestWithParam<Isa> {};

TensorRef<4> RefOf(const GoldenFile::Array& array) {
  const auto& shape = array.shape;
  return DenseRef(array.values.data(), {shape[0], shape[1], shape[2], shape[3]});
}

void ExpectNear(const std::vector<float>& values, const GoldenFile::Array& expected,
                const std::string& name) {
  ASSERT_EQ(values.size(), expected.values.size()) << name;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double allowed = 1e-5 * (1 + std::abs(expected.values[i]));
    ASSERT_NEAR(values[i], expected.values[i], allowed) << name << " element " << i;
  }
}

TEST_P(GoldenGradients, GroupedHeadsCausalAndByDocument) {
  const GoldenFile file("attention_gradients");
  Context context({.threads = 2, .isa = GetParam()});
  for (const std::string input : {"a", "b"}) {
    const auto q = file.Floats(input + ".q"), k = file.Floats(input + ".k"),
               v = file.Floats(input + ".v"), dout = file.Floats(input + ".do");
    for (const std::string& name : {input + ".causal", input + ".full_document"}) {
      SCOPED_TRACE(name);
      const AttentionSpec spec = ParseAttentionJson(file.Record(name).dump());
      const AttentionOptions options{.pattern = spec.At(0, 0).pattern};
      auto out = v, dq = q, dk = k, dv = v;
      out.shape[1] = q.shape[1];
      out.values.resize(dout.values.size());
      std::vector<float> lse(q.shape[0] * q.shape[1] * q.shape[2]);
      const auto to = [](GoldenFile::Array& array) {
        const auto& shape = array.shape;
        return DenseRef(array.values.data(), {shape[0], shape[1], shape[2], shape[3]});
      };
      const auto lse_view = MakeView(lse.data(), q.shape[0], q.shape[1], q.shape[2]);
      AttentionScratch scratch;
      const AttentionInputs in{RefOf(q), RefOf(k), RefOf(v)};
      Attention(context, in, options, scratch, {to(out), lse_view});
      AttentionBackward(context, {in, RefOf(out), lse_view, RefOf(dout)}, options, scratch,
                        {to(dq), to(dk), to(dv)});
      ExpectNear(out.values, file.Floats(name + ".o"), "out");
      ExpectNear(dq.values, file.Floats(name + ".dq"), "dq");
      ExpectNear(dk.values, file.Floats(name + ".dk"), "dk");
      ExpectNear(dv.values, file.Floats(name + ".dv"), "dv");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, GoldenGradients,
                         ::testing::ValuesIn(testing::DistinctIsas(AttentionBackwardKernelsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
