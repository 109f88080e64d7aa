// Attention in plain float64 loops over whole arrays, from the definition; and what the cache's
// types make of a row, from the scalar conversions of the formats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/half.h"
#include "format/quant.h"
#include "kernels/attention_page.h"

namespace foveate::testing {

struct OracleShape {
  std::int64_t tokens, heads, kv_heads, key_dim, value_dim;
  std::int64_t window = 0;
  double scale = 1.0;
  double soft_cap = 0.0;
};

struct OracleResult {
  std::vector<double> out;        // [T, H, Dv]
  std::vector<double> tolerance;  // [T, H]: rounding errors that float arithmetic may make
};

// queries [T, H, D], keys [T, Hkv, D], values [T, Hkv, Dv].
inline OracleResult Oracle(const OracleShape& shape, const std::vector<float>& queries,
                           const std::vector<float>& keys, const std::vector<float>& values) {
  OracleResult result;
  result.out.assign(shape.tokens * shape.heads * shape.value_dim, 0.0);
  result.tolerance.assign(shape.tokens * shape.heads, 0.0);
  std::vector<double> scores(shape.tokens);
  for (std::int64_t i = 0; i < shape.tokens; ++i) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const std::int64_t kv = h / (shape.heads / shape.kv_heads);
      double largest = -std::numeric_limits<double>::infinity();
      double largest_sum = 0;
      double largest_value = 0;
      const auto visible = [&](std::int64_t j) {
        return j <= i && (shape.window == 0 || i - j < shape.window);
      };
      for (std::int64_t j = 0; j < shape.tokens; ++j) {
        if (!visible(j)) continue;
        double dot = 0;
        double absolute = 0;
        for (std::int64_t d = 0; d < shape.key_dim; ++d) {
          const double product = double{queries[(i * shape.heads + h) * shape.key_dim + d]} *
                                 double{keys[(j * shape.kv_heads + kv) * shape.key_dim + d]};
          dot += product;
          absolute += std::abs(product);
        }
        double score = dot * shape.scale;
        if (shape.soft_cap > 0) score = shape.soft_cap * std::tanh(score / shape.soft_cap);
        scores[j] = score;
        largest = std::max(largest, score);
        largest_sum = std::max(largest_sum, absolute * std::abs(shape.scale));
      }
      double denominator = 0;
      double* out = &result.out[(i * shape.heads + h) * shape.value_dim];
      for (std::int64_t j = 0; j < shape.tokens; ++j) {
        if (!visible(j)) continue;
        const double p = std::exp(scores[j] - largest);
        denominator += p;
        for (std::int64_t d = 0; d < shape.value_dim; ++d) {
          const double value = values[(j * shape.kv_heads + kv) * shape.value_dim + d];
          out[d] += p * value;
          largest_value = std::max(largest_value, std::abs(value));
        }
      }
      for (std::int64_t d = 0; d < shape.value_dim; ++d) out[d] /= denominator;
      result.tolerance[i * shape.heads + h] = 8 * 0x1p-24 * (1 + largest_sum) * largest_value;
    }
  }
  return result;
}

// What comes back when rows of `dim` numbers are stored as `type`.
inline void RoundTrip(KvType type, std::int64_t dim, std::vector<float>& rows) {
  if (type == KvType::kF32) return;
  const TensorType stored = type == KvType::kF16    ? TensorType::kF16
                            : type == KvType::kBF16 ? TensorType::kBF16
                            : type == KvType::kQ8_0 ? TensorType::kQ8_0
                                                    : TensorType::kQ4_0;
  std::vector<std::byte> bytes(dim * 4);
  for (std::size_t first = 0; first < rows.size(); first += dim) {
    const std::span<float> row(&rows[first], dim);
    QuantizeRow(stored, row, bytes.data());
    DequantizeRow(stored, bytes.data(), row);
  }
}

}  // namespace foveate::testing
