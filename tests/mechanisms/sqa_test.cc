// Sparse query attention (Filipek 2025, arXiv 2510.01817): whole layers with fewer query heads, or
// fewer still than KV heads, around the operator, against an independent float64 reference.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "tests/mechanisms/golden_file.h"

namespace foveate {
namespace {

using nlohmann::json;
using testing::GoldenFile;

constexpr double kTolerance = 2e-5;

// x [B, N, d_model] * W^T, as [B, N, heads, D].
std::vector<float> Project(const GoldenFile::Array& x, const GoldenFile::Array& weights) {
  const std::int64_t rows = x.shape[0] * x.shape[1], in = weights.shape[1], out = weights.shape[0];
  std::vector<float> y(rows * out);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (std::int64_t i = 0; i < in; ++i) {
        sum += double{x.values[r * in + i]} * weights.values[o * in + i];
      }
      y[r * out + o] = static_cast<float>(sum);
    }
  }
  return y;
}

// Rotates channel c of every head [B, N, heads, D] with channel c + D / 2.
void Rotate(std::vector<float>& heads, std::int64_t rows, std::int64_t count, std::int64_t dim) {
  for (std::size_t i = 0; i < heads.size() / dim; ++i) {
    const auto position = static_cast<double>(static_cast<std::int64_t>(i) / count % rows);
    for (std::int64_t c = 0; c < dim / 2; ++c) {
      const double angle = position * std::pow(10000.0, -2.0 * c / dim);
      float& u = heads[i * dim + c];
      float& v = heads[i * dim + c + dim / 2];
      const double turned = u * std::cos(angle) - v * std::sin(angle);
      v = static_cast<float>(u * std::sin(angle) + v * std::cos(angle));
      u = static_cast<float>(turned);
    }
  }
}

PatternPtr PatternOf(const json& record) {
  const json window = record["window"];
  const std::int64_t left = window.is_null() ? -1 : window[0].get<std::int64_t>();
  const std::int64_t right = window.is_null() ? -1 : window[1].get<std::int64_t>();
  return record["causal"] ? And(Window(left, right), Window(-1, 0)) : Window(left, right);
}

// Heads [B, N, count, D] as [B, heads, N, D], each of them for heads / count in a row.
TensorRef<4> Heads(const std::vector<float>& values, std::int64_t batches, std::int64_t rows,
                   std::int64_t count, std::int64_t dim) {
  return {reinterpret_cast<const std::byte*>(values.data()),
          ElementType::kF32,
          {batches, count, rows, dim},
          {rows * count * dim, dim, count * dim, 1}};
}

std::vector<float> Repeated(const std::vector<float>& heads, std::int64_t dim, std::int64_t times) {
  std::vector<float> repeated;
  for (std::size_t head = 0; head < heads.size(); head += dim) {
    for (std::int64_t i = 0; i < times; ++i) {
      repeated.insert(repeated.end(), &heads[head], &heads[head] + dim);
    }
  }
  return repeated;
}

void ExpectNear(const std::vector<float>& found, const GoldenFile::Array& expected) {
  ASSERT_EQ(found.size(), expected.values.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected.values[i], kTolerance) << i;
  }
}

void ExpectLayer(const GoldenFile& file, const std::string& name, const json& record) {
  SCOPED_TRACE(name + " " + record.dump());
  const std::int64_t batches = record["B"], rows = record["N"], dim = record["D"];
  const std::int64_t query_heads = record["Hq"], kv_heads = record["Hkv"];
  const std::int64_t heads = std::max(query_heads, kv_heads);
  const GoldenFile::Array x = file.Floats(name + ".x");
  std::vector<float> q = Project(x, file.Floats(name + ".Wq"));
  std::vector<float> k = Project(x, file.Floats(name + ".Wk"));
  const std::vector<float> v = Project(x, file.Floats(name + ".Wv"));
  if (!record["rope"].is_null()) {
    Rotate(q, rows, query_heads, dim);
    Rotate(k, rows, kv_heads, dim);
  }
  q = Repeated(q, dim, heads / query_heads);

  std::vector<float> o(batches * heads * rows * dim), lse(batches * heads * rows);
  Context context({.threads = 2});
  AttentionScratch scratch;
  Attention(context,
            {Heads(q, batches, rows, heads, dim), Heads(k, batches, rows, kv_heads, dim),
             Heads(v, batches, rows, kv_heads, dim)},
            {.pattern = PatternOf(record)}, scratch,
            {RefOf(MakeView(o.data(), batches, heads, rows, dim)),
             MakeView(lse.data(), batches, heads, rows)});
  ExpectNear(o, file.Floats(name + ".o"));
  ExpectNear(lse, file.Floats(name + ".lse"));

  GoldenFile::Array joined{{batches, rows, heads * dim}, {}};  // [B, N, heads, D]
  for (std::int64_t i = 0; i < batches * rows * heads; ++i) {
    const std::int64_t b = i / heads / rows, n = i / heads % rows, h = i % heads;
    const float* head = &o[((b * heads + h) * rows + n) * dim];
    joined.values.insert(joined.values.end(), head, head + dim);
  }
  std::vector<float> y = Project(joined, file.Floats(name + ".Wo"));
  const std::vector<float> bias = file.Floats(name + ".bo").values;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += bias[i % bias.size()];
  ExpectNear(y, file.Floats(name + ".y"));
}

TEST(SparseQueryAttention, GoldenLayers) {
  const GoldenFile file("sqa");
  for (const auto& [name, record] : file.Cases()) ExpectLayer(file, name, record);
  EXPECT_EQ(file.Cases().size(), 8u);
}

}  // namespace
}  // namespace foveate
