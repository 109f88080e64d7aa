// Neighborhood attention against an independent float64 reference: masks, outputs, log-sum-exps and
// extra keys that every row sees.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "attention/attention_backward.h"
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
    if (file.Find(name + ".dout") == nullptr) return;
    ++gradients_;
    const auto dout = file.Floats(name + ".dout");
    const AttentionBackwardInputs inputs{{RefOf(queries), RefOf(keys), RefOf(values)},
                                         RefOf(MakeView<const float>(result.data(), b, h, n, dim)),
                                         MakeView<const float>(lse.data(), b, h, n),
                                         RefOf(TokensOf(dout, heads_last))};
    CompareGradients(file, name, inputs, options, heads_last);
  }

  // With extra keys: each set of keys by a call of its own, queries get the sum.
  void CompareGradients(const GoldenFile& file, const std::string& name,
                        AttentionBackwardInputs inputs, const AttentionOptions& options,
                        bool heads_last) {
    std::vector<float> dq = Gradients(file, name, inputs, options, "d", heads_last);
    if (file.Find(name + ".extra_k") != nullptr) {
      const auto k = file.Floats(name + ".extra_k"), v = file.Floats(name + ".extra_v");
      inputs.forward.key = RefOf(TokensOf(k, true));
      inputs.forward.value = RefOf(TokensOf(v, true));
      const std::vector<float> more =
          Gradients(file, name, inputs, {.scale = options.scale}, "d_extra_", heads_last);
      for (std::size_t i = 0; i < dq.size(); ++i) dq[i] += more[i];
    }
    ExpectNear(file, name + ".dq", dq, heads_last);
  }

  // Compares those by keys and values, returns those by queries.
  std::vector<float> Gradients(const GoldenFile& file, const std::string& name,
                               const AttentionBackwardInputs& inputs,
                               const AttentionOptions& options, const std::string& prefix,
                               bool heads_last) {
    const auto dense = [](const TensorRef<4>& like, std::vector<float>& values) {
      const auto& s = like.shape;
      values.resize(s[0] * s[1] * s[2] * s[3]);
      return DenseRef(values.data(), {s[0], s[1], s[2], s[3]});
    };
    std::vector<float> dq, dk, dv;
    AttentionBackward(context_, inputs, options, scratch_,
                      {dense(inputs.forward.query, dq), dense(inputs.forward.key, dk),
                       dense(inputs.forward.value, dv)});
    ExpectNear(file, name + "." + prefix + "k", dk, heads_last);
    ExpectNear(file, name + "." + prefix + "v", dv, heads_last);
    return dq;
  }

  static void ExpectNear(const GoldenFile& file, const std::string& name,
                         const std::vector<float>& values, bool heads_last) {
    const auto array = file.Floats(name);
    const View<const float, 4> expected = TokensOf(array, heads_last);
    const auto [b, h, n, dim] = expected.shape;
    ASSERT_EQ(std::ssize(values), b * h * n * dim) << name;
    for (std::int64_t i = 0; i < b * h * n * dim; ++i) {
      const float value = expected(i / (h * n * dim), i / (n * dim) % h, i / dim % n, i % dim);
      ASSERT_NEAR(values[i], value, 1e-5 * (1 + std::abs(value))) << name << " element " << i;
    }
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
  int gradients_ = 0;
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
  EXPECT_GE(gradients_, 4);
}

// Queries are scaled already; biases by relative position in most cases.
TEST_P(GoldenNeighborhoodOperator, FasterWithRelativeBias) {
  const GoldenFile file("fna");
  for (const std::string& name : CaseNames(file, 7)) Expect(file, name, false, 1.0f);
  EXPECT_EQ(gradients_, 7);
}

INSTANTIATE_TEST_SUITE_P(Isas, GoldenNeighborhoodOperator,
                         ::testing::ValuesIn(testing::DistinctIsas(AttentionKernelsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
