// Neighborhood attention with its weights stored: every tensor of an independent float64 reference,
// and random grids against the fused operator.
#include "mechanisms/window_attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "base/half.h"
#include "base/throw.h"
#include "kernels/tile_products.h"
#include "tests/mechanisms/golden_file.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using nlohmann::json;
using testing::GoldenFile;

NeighborhoodGrid GridOf(const json& record) {
  const auto list = [&](const char* name) {
    IntegerList values;
    for (const json& value : record[name]) {
      values.push_back(value.is_boolean() ? value.get<bool>() : value.get<std::int64_t>());
    }
    return values;
  };
  return MakeNeighborhoodGrid(list("shape"), list("window"), {1}, list("dilation"), list("causal"));
}

void ExpectNear(const std::vector<float>& values, const std::vector<float>& expected,
                const std::string& name) {
  ASSERT_EQ(values.size(), expected.size()) << name;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double floor = std::max(double{expected[i]}, -1e30);  // as -infinity is stored
    ASSERT_NEAR(std::max(double{values[i]}, -1e30), floor, 1e-5 * (1 + std::abs(floor)))
        << name << " element " << i;
  }
}

// Tensors of a call, row-major.
struct Call {
  std::int64_t batches = 1, heads = 1, kv_heads = 1, tokens = 0, dim = 8, value_dim = 8;
  std::vector<float> q, k, v, dout;

  AttentionInputs Inputs() const {
    return {DenseRef(q.data(), {batches, heads, tokens, dim}),
            DenseRef(k.data(), {batches, kv_heads, tokens, dim}),
            DenseRef(v.data(), {batches, kv_heads, tokens, value_dim})};
  }
};

struct Result {
  std::vector<float> scores, weights, out, lse, dq, dk, dv, dbias;
};

class WindowAttentionTest : public ::testing::TestWithParam<Isa> {
 protected:
  Result Run(const NeighborhoodWindows& windows, const Call& call, const WindowOptions& options) {
    const auto& [b, h, hkv, n, d, dv, q, k, v, dout] = call;
    const std::int64_t size = windows.size();
    Result r;
    for (auto* values : {&r.scores, &r.weights}) values->resize(b * h * n * size);
    r.out.resize(b * h * n * dv);
    r.lse.resize(b * h * n);
    const auto weights = MakeView(r.weights.data(), b, h, n, size);
    WindowAttention(context_, windows, call.Inputs(), options, weights,
                    {DenseRef(r.out.data(), {b, h, n, dv}), MakeView(r.lse.data(), b, h, n)},
                    MakeView(r.scores.data(), b, h, n, size));
    r.dq.resize(q.size());
    r.dk.resize(k.size());
    r.dv.resize(v.size());
    View<float, 2> dbias{};
    if (options.bias.data != nullptr) {
      r.dbias.resize(h * windows.bias_entries());
      dbias = MakeView(r.dbias.data(), h, windows.bias_entries());
    }
    WindowAttentionBackward(
        context_, windows,
        {call.Inputs(), DenseRef(std::as_const(r.out).data(), {b, h, n, dv}),
         MakeView<const float>(r.lse.data(), b, h, n), DenseRef(dout.data(), {b, h, n, dv})},
        options, weights,
        {DenseRef(r.dq.data(), {b, h, n, d}), DenseRef(r.dk.data(), {b, hkv, n, d}),
         DenseRef(r.dv.data(), {b, hkv, n, dv})},
        dbias);
    return r;
  }

  std::vector<float> Random(std::int64_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = std::normal_distribution<float>()(random_);
    return values;
  }
  std::int64_t Between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random_);
  }

  Context context_{{.threads = 2, .isa = GetParam()}};
  std::mt19937 random_{11};
};

TEST_P(WindowAttentionTest, Golden) {
  const GoldenFile file("fna");
  int biases = 0;
  for (int i = 0; i < 7; ++i) {
    const std::string name = fmt::format("c{:02}", i);
    SCOPED_TRACE(name);
    const auto floats = [&](const char* tensor) { return file.Floats(name + "." + tensor).values; };
    const json record = file.Record(name);
    const NeighborhoodWindows windows(GridOf(record));
    Call call{.batches = record.value("B", 1),
              .heads = record["H"],
              .kv_heads = record["H"],
              .tokens = windows.tokens(),
              .q = floats("q"),
              .k = floats("k"),
              .v = floats("v"),
              .dout = floats("dout")};
    WindowOptions options{.scale = 1.0f};
    std::vector<float> bias;
    if (record.contains("rpb")) {
      ++biases;
      bias = floats("rpb");
      options.bias = MakeView<const float>(bias.data(), call.heads, windows.bias_entries());
    }
    const Result result = Run(windows, call, options);
    ExpectNear(result.scores, floats("logits"), "logits");
    ExpectNear(result.weights, floats("probs"), "probs");
    ExpectNear(result.out, floats("out"), "out");
    ExpectNear(result.dq, floats("dq"), "dq");
    ExpectNear(result.dk, floats("dk"), "dk");
    ExpectNear(result.dv, floats("dv"), "dv");
    if (!bias.empty()) ExpectNear(result.dbias, floats("drpb"), "drpb");
  }
  EXPECT_EQ(biases, 5);
}

TEST_P(WindowAttentionTest, AgreesWithTheFusedOperator) {
  for (int trial = 0; trial < 20; ++trial) {
    IntegerList shape, window, dilation, causal;
    const int axes = static_cast<int>(Between(1, 3));
    for (int a = 0; a < axes; ++a) {
      shape.push_back(Between(1, axes == 1 ? 150 : axes == 2 ? 19 : 8));
      window.push_back(Between(1, shape.back()));
      dilation.push_back(Between(1, shape.back() / window.back()));
      causal.push_back(Between(0, 1));
    }
    const NeighborhoodGrid grid = MakeNeighborhoodGrid(shape, window, {1}, dilation, causal);
    SCOPED_TRACE(grid.SpecText());
    const NeighborhoodWindows windows(grid);
    Call call{.batches = Between(1, 2), .kv_heads = Between(1, 2), .tokens = windows.tokens()};
    call.heads = call.kv_heads * Between(1, 2);
    call.dim = Between(1, 40);
    call.value_dim = Between(1, 40);
    const std::int64_t rows = call.batches * call.tokens;
    call.q = Random(rows * call.heads * call.dim);
    call.k = Random(rows * call.kv_heads * call.dim);
    call.v = Random(rows * call.kv_heads * call.value_dim);
    call.dout = Random(rows * call.heads * call.value_dim);
    const Result stored = Run(windows, call, {});

    const auto& [b, h, hkv, n, d, dv, q, k, v, dout] = call;
    Result fused;
    fused.out.resize(stored.out.size());
    fused.lse.resize(stored.lse.size());
    fused.dq.resize(q.size());
    fused.dk.resize(k.size());
    fused.dv.resize(v.size());
    const AttentionOptions options{.pattern = ParseAttentionSpec(grid.SpecText()).At(0, 0).pattern};
    AttentionScratch scratch;
    Attention(context_, call.Inputs(), options, scratch,
              {DenseRef(fused.out.data(), {b, h, n, dv}), MakeView(fused.lse.data(), b, h, n)});
    AttentionBackward(
        context_,
        {call.Inputs(), DenseRef(std::as_const(fused.out).data(), {b, h, n, dv}),
         MakeView<const float>(fused.lse.data(), b, h, n), DenseRef(dout.data(), {b, h, n, dv})},
        options, scratch,
        {DenseRef(fused.dq.data(), {b, h, n, d}), DenseRef(fused.dk.data(), {b, hkv, n, d}),
         DenseRef(fused.dv.data(), {b, hkv, n, dv})});
    ExpectNear(stored.out, fused.out, "out");
    ExpectNear(stored.lse, fused.lse, "lse");
    ExpectNear(stored.dq, fused.dq, "dq");
    ExpectNear(stored.dk, fused.dk, "dk");
    ExpectNear(stored.dv, fused.dv, "dv");
  }
}

// Heads innermost, half precision: read where they lie.
TEST_P(WindowAttentionTest, ReadsAnyStridesAndTypes) {
  const NeighborhoodWindows windows(MakeNeighborhoodGrid({9, 10}, {3, 5}, {1}, {2, 1}, {0}));
  constexpr std::int64_t kHeads = 3, kDim = 12;
  const std::int64_t n = windows.tokens();
  const std::vector<float> q = Random(kHeads * n * kDim), k = Random(kHeads * n * kDim),
                           v = Random(kHeads * n * kDim);
  const auto rounded = [&](const std::vector<float>& values) {
    std::vector<BFloat16> half;
    for (const float value : values) half.push_back(ToBFloat16(value));
    return half;
  };
  const auto q16 = rounded(q), k16 = rounded(k), v16 = rounded(v);
  // [N, H, D] of the file order as [1, H, N, D].
  const auto ref = [&](const std::vector<BFloat16>& values) -> TensorRef<4> {
    return {reinterpret_cast<const std::byte*>(values.data()),
            ElementType::kBF16,
            {1, kHeads, n, kDim},
            {0, kDim, kHeads * kDim, 1}};
  };
  const auto dense = [&](const std::vector<BFloat16>& values) {
    std::vector<float> wide(values.size());
    for (std::int64_t h = 0; h < kHeads; ++h) {
      for (std::int64_t i = 0; i < n * kDim; ++i) {
        wide[h * n * kDim + i] = ToFloat(values[i / kDim * kHeads * kDim + h * kDim + i % kDim]);
      }
    }
    return wide;
  };
  Call call{.heads = kHeads,
            .kv_heads = kHeads,
            .tokens = n,
            .dim = kDim,
            .value_dim = kDim,
            .q = dense(q16),
            .k = dense(k16),
            .v = dense(v16)};
  call.dout = Random(kHeads * n * kDim);
  const Result expected = Run(windows, call, {});
  std::vector<float> weights(kHeads * n * windows.size()), out(kHeads * n * kDim);
  WindowAttention(context_, windows, {ref(q16), ref(k16), ref(v16)}, {},
                  MakeView(weights.data(), 1, kHeads, n, windows.size()),
                  {DenseRef(out.data(), {1, kHeads, n, kDim})});
  EXPECT_EQ(out, expected.out);
  EXPECT_EQ(weights, expected.weights);
}

std::string MessageOf(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(WindowAttentionRefusal, NamesTheRule) {
  Context context({.threads = 1});
  EXPECT_NE(MessageOf([] {
              NeighborhoodWindows(MakeNeighborhoodGrid({8, 8}, {4, 4}, {1, 2}, {1}, {0}));
            }).find("axis 1: stride 2 with stored weights"),
            std::string::npos);
  const NeighborhoodWindows windows(MakeNeighborhoodGrid({8}, {3}, {1}, {1}, {1}));
  const std::vector<float> x(8 * 4);
  std::vector<float> weights(8 * 3), out(8 * 4);
  const auto run = [&](std::int64_t tokens, std::int64_t entries) {
    return MessageOf([&] {
      const TensorRef<4> ref = DenseRef(x.data(), {1, 1, tokens, 4});
      WindowOptions options;
      if (entries > 0) options.bias = MakeView<const float>(x.data(), 1, entries);
      WindowAttention(context, windows, {ref, ref, ref}, options,
                      MakeView(weights.data(), 1, 1, tokens, 3),
                      {DenseRef(out.data(), {1, 1, tokens, 4})});
    });
  };
  EXPECT_EQ(run(8, 0), "no error");
  EXPECT_NE(run(7, 0).find("shape 8 makes 8 tokens, but the call has 7 queries"),
            std::string::npos);
  EXPECT_NE(run(8, 5).find("beside a causal axis"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Isas, WindowAttentionTest,
                         ::testing::ValuesIn(testing::DistinctIsas(TileProductsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

}  // namespace
}  // namespace foveate
