// Neighborhood attention against an independent float64 reference: masks, outputs, log-sum-exps and
// extra keys that every row sees.
#include <fmt/format.h>
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

json SpecOf(const json& record) {
  json spec = {{"kind", "neighborhood"}};
  for (const char* key : {"shape", "window", "stride", "dilation", "causal"}) {
    if (record.contains(key)) spec[key] = record[key];
  }
  return spec;
}

std::vector<std::string> CaseNames(const GoldenFile& file, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(fmt::format("c{:02}", i));
  EXPECT_EQ(file.Find(fmt::format("c{:02}.q", count)), nullptr) << "more cases than are tested";
  return names;
}

// Tokens [B, *space, H, D] or [B, H, *space, D] as [B, H, N, D].
View<const float, 4> TokensOf(const GoldenFile::Array& array, bool heads_last) {
  const auto& shape = array.shape;
  const std::int64_t b = shape.front(), d = shape.back();
  const std::int64_t h = heads_last ? shape[shape.size() - 2] : shape[1];
  const std::int64_t n = std::ssize(array.values) / (b * h * d);
  View<const float, 4> view = MakeView<const float>(array.values.data(), b, h, n, d);
  if (heads_last) view.strides = {n * h * d, d, h * d, 1};
  return view;
}

TEST(GoldenNeighborhood, Masks) {
  const GoldenFile file("gna");
  int masks = 0;
  for (const std::string& name : CaseNames(file, 17)) {
    const StoredTensor* mask = file.Find(name + ".mask");
    if (mask == nullptr) continue;
    ++masks;
    SCOPED_TRACE(name);
    const PatternPtr pattern =
        ParseAttentionJson(SpecOf(file.Record(name)).dump()).At(0, 0).pattern;
    const AttentionShape shape{mask->shape[0], mask->shape[1]};
    pattern->Check(shape);
    for (std::int64_t row = 0; row < shape.queries; ++row) {
      for (std::int64_t key = 0; key < shape.keys; ++key) {
        ASSERT_EQ(pattern->Attends(shape, row, key),
                  mask->bytes[row * shape.keys + key] != std::byte{0})
            << "row " << row << " key " << key;
      }
    }
  }
  EXPECT_EQ(masks, 9);
}

class GoldenNeighborhoodOperator : public ::testing::TestWithParam<Isa> {
 protected:
  void Expect(const GoldenFile& file, const std::string& name, bool heads_last,
              std::optional<float> scale) {
    SCOPED_TRACE(name);
    const auto q = file.Floats(name + ".q"), k = file.Floats(name + ".k"),
               v = file.Floats(name + ".v"), out = file.Floats(name + ".out");
    const View<const float, 4> queries = TokensOf(q, heads_last), keys = TokensOf(k, heads_last);
    const View<const float, 4> values = TokensOf(v, heads_last);
    const View<const float, 4> expected = TokensOf(out, heads_last);
    const auto [b, h, n, dim] = expected.shape;
    std::vector<float> result(b * h * n * dim), lse(b * h * n);
    AttentionOptions options{
        .pattern = ParseAttentionJson(SpecOf(file.Record(name)).dump()).At(0, 0).pattern,
        .scale = scale};
    std::vector<float> bias;
    if (file.Find(name + ".rpb") != nullptr) {
      bias = RelativeBias(file.Record(name), file.Floats(name + ".rpb"), n);
      options.bias = MakeView<const float>(bias.data(), 1, h, n, n);
    }
    Attention(context_, {RefOf(queries), RefOf(keys), RefOf(values)}, options, scratch_,
              {RefOf(MakeView(result.data(), b, h, n, dim)), MakeView(lse.data(), b, h, n)});
    if (file.Find(name + ".extra_k") != nullptr) {
      MergeExtra(file, name, queries, scale, result, lse);
    }
    Compare(file, name, expected, result, lse, heads_last);
  }

  // A table [H, 2 window - 1, ...] of biases by distance, counted in dilations, as [H, N, N].
  static std::vector<float> RelativeBias(const json& record, const GoldenFile::Array& table,
                                         std::int64_t n) {
    const std::int64_t heads = table.shape.front();
    const std::int64_t entries = std::ssize(table.values) / heads;
    std::vector<float> bias(heads * n * n);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        std::int64_t entry = 0, step = 1, x = i, y = j;
        bool near = true;
        for (std::size_t axis = record["shape"].size(); axis-- > 0;) {
          const std::int64_t length = record["shape"][axis], window = record["window"][axis];
          const std::int64_t dilation = record["dilation"][axis];
          const std::int64_t distance = y % length - x % length;
          const std::int64_t index = distance / dilation + window - 1;
          near = near && distance % dilation == 0 && index >= 0 && index <= 2 * window - 2;
          entry += index * step;
          step *= 2 * window - 1;
          x /= length;
          y /= length;
        }
        for (std::int64_t h = 0; near && h < heads; ++h) {
          bias[(h * n + i) * n + j] = table.values[h * entries + entry];
        }
      }
    }
    return bias;
  }

  void MergeExtra(const GoldenFile& file, const std::string& name,
                  const View<const float, 4>& queries, std::optional<float> scale,
                  std::vector<float>& result, std::vector<float>& lse) {
    const auto k = file.Floats(name + ".extra_k"), v = file.Floats(name + ".extra_v");
    const View<const float, 4> keys = TokensOf(k, true), values = TokensOf(v, true);
    const auto [b, h, n, d] = queries.shape;
    const std::int64_t dim = values.shape[3];
    std::vector<float> more(result.size()), more_lse(lse.size());
    Attention(context_, {RefOf(queries), RefOf(keys), RefOf(values)}, {.scale = scale}, scratch_,
              {RefOf(MakeView(more.data(), b, h, n, dim)), MakeView(more_lse.data(), b, h, n)});
    MergeAttention(MakeView<const float>(more.data(), b * h * n, dim),
                   MakeView<const float>(more_lse.data(), b * h * n),
                   MakeView(result.data(), b * h * n, dim), MakeView(lse.data(), b * h * n));
    ++extra_;
  }

  static void Compare(const GoldenFile& file, const std::string& name,
                      const View<const float, 4>& expected, const std::vector<float>& result,
                      const std::vector<float>& lse, bool heads_last) {
    const auto [b, h, n, dim] = expected.shape;
    GoldenFile::Array expected_lse;
    double tolerance = 1e-5;
    if (heads_last) {
      expected_lse = file.Floats(name + ".lse");
      for (const float value : expected_lse.values) {
        if (std::abs(value) > 100) tolerance = 1e-4;  // the case with large logits
      }
    }
    for (std::int64_t i = 0; i < b * h * n; ++i) {
      const std::int64_t batch = i / (h * n), head = i / n % h, row = i % n;
      for (std::int64_t d = 0; d < dim; ++d) {
        const float value = expected(batch, head, row, d);
        ASSERT_NEAR(result[i * dim + d], value, tolerance * (1 + std::abs(value))) << i;
      }
      if (!heads_last) continue;
      const float value = expected_lse.values[(batch * n + row) * h + head];
      ASSERT_NEAR(lse[i], value, tolerance * (1 + std::abs(value))) << i;
    }
  }

  Context context_{{.threads = 2, .isa = GetParam()}};
  AttentionScratch scratch_;
  int extra_ = 0;
};

TEST_P(GoldenNeighborhoodOperator, Generalized) {
  const GoldenFile file("gna");
  for (const std::string& name : CaseNames(file, 17)) {
    const json record = file.Record(name);
    std::optional<float> scale;
    if (record.contains("scale")) scale = record["scale"].get<float>();
    Expect(file, name, true, scale);
  }
  EXPECT_GE(extra_, 1);
}

// Queries are scaled already; biases by relative position in most cases.
TEST_P(GoldenNeighborhoodOperator, FasterWithRelativeBias) {
  const GoldenFile file("fna");
  for (const std::string& name : CaseNames(file, 7)) Expect(file, name, false, 1.0f);
}

INSTANTIATE_TEST_SUITE_P(Isas, GoldenNeighborhoodOperator,
                         ::testing::ValuesIn(testing::DistinctIsas(AttentionKernelsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
