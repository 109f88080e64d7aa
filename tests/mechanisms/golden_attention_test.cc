// Outputs of an independent float64 reference, through the operator.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "attention/attention.h"
#include "kernels/attention_kernels.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using nlohmann::json;
using testing::GoldenFile;

// Empty rows of the files have this lse.
constexpr float kEmptyRow = -1e30f;

class GoldenAttention : public ::testing::TestWithParam<Isa> {
 protected:
  // q, k, v of a case -> its out and lse.
  void ExpectCase(const GoldenFile& file, const std::string& name, const json& spec) {
    SCOPED_TRACE(name + " " + spec.dump());
    const auto q = file.Floats(name + ".q"), k = file.Floats(name + ".k"),
               v = file.Floats(name + ".v");
    const auto expected = file.Floats(name + ".out"), expected_lse = file.Floats(name + ".lse");
    const auto view = [](const GoldenFile::Array& array) {
      return RefOf(MakeView<const float>(array.values.data(), 1, array.shape[0], array.shape[1],
                                         array.shape[2]));
    };
    std::vector<float> out(expected.values.size()), lse(expected_lse.values.size());
    Attention(context_, {view(q), view(k), view(v)},
              {.pattern = ParseAttentionJson(spec.dump()).At(0, 0).pattern}, scratch_,
              {RefOf(MakeView(out.data(), 1, q.shape[0], q.shape[1], v.shape[2])),
               MakeView(lse.data(), 1, q.shape[0], q.shape[1])});
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected.values[i], 1e-5) << i;
    for (std::size_t i = 0; i < lse.size(); ++i) {
      if (expected_lse.values[i] == kEmptyRow) {
        ASSERT_EQ(lse[i], -std::numeric_limits<float>::infinity()) << i;
        ++empty_rows_;
      } else {
        ASSERT_NEAR(lse[i], expected_lse.values[i], 1e-5) << i;
      }
    }
  }

  Context context_{{.threads = 2, .isa = GetParam()}};
  AttentionScratch scratch_;
  int empty_rows_ = 0;
};

TEST_P(GoldenAttention, Masks) {
  const GoldenFile file("masks");
  for (const auto& [name, record] : file.Cases())
    ExpectCase(file, name, GoldenFile::SpecOf(record));
  EXPECT_EQ(file.Cases().size(), 29u);
  EXPECT_GT(empty_rows_, 0);
}

TEST_P(GoldenAttention, PowerAttention) {
  const GoldenFile file("powerattention");
  for (const auto& [name, record] : file.Cases()) {
    json spec = GoldenFile::SpecOf(record);
    spec["kind"] = "power";
    ExpectCase(file, name, spec);
  }
  EXPECT_EQ(file.Cases().size(), 5u);
}

INSTANTIATE_TEST_SUITE_P(Isas, GoldenAttention,
                         ::testing::ValuesIn(testing::DistinctIsas(AttentionKernelsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
