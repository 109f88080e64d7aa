#include "runtime/backward_bench.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <type_traits>
#include <utility>

#include "base/tensor_ref.h"

namespace foveate {
namespace {

constexpr std::int64_t kSamples = 8;
constexpr double kUnit = 0x1p-24;

double At(const TensorRef<4>& tensor, std::int64_t head, std::int64_t row, std::int64_t d) {
  return ReadElement(tensor.At(0, head, row, d), tensor.type);
}

// A dense tensor of that shape in a buffer.
template <typename Bytes>
auto RefTo(Bytes& bytes, ElementType type, const std::array<std::int64_t, 4>& shape) {
  return BasicTensorRef<std::remove_reference_t<decltype(*bytes.data())>, 4>{
      bytes.data(), type, shape, DenseStrides(shape)};
}

std::int64_t BytesOf(const TensorRef<4>& tensor, const std::array<std::int64_t, 4>& shape) {
  return shape[0] * shape[1] * shape[2] * shape[3] * ElementBytes(tensor.type);
}

// Sums in float64 with the error that they may have.
struct Sums {
  explicit Sums(std::int64_t dim) : value(dim), bound(dim) {}
  std::vector<double> value, bound;
};

struct Problem {
  const AttentionInputs& in;
  const TensorRef<4>& out;
  const TensorRef<4>& dout;
  const View<const float, 3>& lse;

  double Dot(const TensorRef<4>& a, std::int64_t a_head, std::int64_t a_row, const TensorRef<4>& b,
             std::int64_t b_head, std::int64_t b_row, double& magnitude) const {
    double sum = 0;
    magnitude = 0;
    for (std::int64_t d = 0; d < a.shape[3]; ++d) {
      const double product = At(a, a_head, a_row, d) * At(b, b_head, b_row, d);
      sum += product;
      magnitude += std::abs(product);
    }
    return sum;
  }

  // Adds what a row and a key give: to the query or, if `dvalue`, to the key and value.
  void AddPair(std::int64_t head, std::int64_t row, std::int64_t key, Sums& sums,
               Sums* dvalue) const {
    const std::int64_t kv = head / (in.query.shape[1] / in.key.shape[1]);
    const std::int64_t dim = in.query.shape[3];
    const double scale = 1 / std::sqrt(static_cast<double>(dim));
    double score_size = 0, dp_size = 0, delta_size = 0;
    const double score = scale * Dot(in.query, head, row, in.key, kv, key, score_size);
    const double dp = Dot(dout, head, row, in.value, kv, key, dp_size);
    const double delta = Dot(dout, head, row, out, head, row, delta_size);
    const double p = std::exp(score - lse(0, head, row));
    const double off = 16 * kUnit * (1 + scale * score_size + std::abs(lse(0, head, row))) * p;
    const TensorRef<4>& other = dvalue != nullptr ? in.query : in.key;
    for (std::int64_t d = 0; d < dim; ++d) {
      const double x =
          scale * (dvalue != nullptr ? At(other, head, row, d) : At(other, kv, key, d));
      sums.value[d] += p * (dp - delta) * x;
      sums.bound[d] += off * (dp_size + delta_size) * std::abs(x);
      if (dvalue == nullptr) continue;
      dvalue->value[d] += p * At(dout, head, row, d);
      dvalue->bound[d] += off * std::abs(At(dout, head, row, d));
    }
  }
};

// The largest error of a row of a tensor, as a share of its bound.
double Worst(const TensorRef<4>& tensor, std::int64_t head, std::int64_t row, const Sums& sums) {
  const double half_ulp = tensor.type == ElementType::kF32   ? 0
                          : tensor.type == ElementType::kF16 ? 0x1p-11
                                                             : 0x1p-8;
  double worst = 0;
  for (std::size_t d = 0; d < sums.value.size(); ++d) {
    const double off =
        std::abs(At(tensor, head, row, static_cast<std::int64_t>(d)) - sums.value[d]);
    const double share = off / (sums.bound[d] + half_ulp * std::abs(sums.value[d]) + 0x1p-25);
    if (!(share <= worst)) worst = share;
  }
  return worst;
}

}  // namespace

BackwardBench::BackwardBench(const AttentionInputs& inputs)
    : dout_(BytesOf(inputs.query, inputs.query.shape)),
      dquery_(dout_.size()),
      dkey_(BytesOf(inputs.query, inputs.key.shape)),
      dvalue_(dkey_.size()) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  const ElementType type = inputs.query.type;
  for (std::size_t i = 0; i < dout_.size(); i += ElementBytes(type)) {
    WriteElement(normal(random), dout_.data() + i, type);
  }
}

void BackwardBench::Run(Context& context, const AttentionInputs& inputs, const TensorRef<4>& out,
                        const View<const float, 3>& lse, const AttentionOptions& options,
                        AttentionScratch& scratch) {
  const ElementType type = inputs.query.type;
  AttentionBackward(context,
                    {inputs, out, lse, RefTo(std::as_const(dout_), type, inputs.query.shape)},
                    options, scratch,
                    {RefTo(dquery_, type, inputs.query.shape), RefTo(dkey_, type, inputs.key.shape),
                     RefTo(dvalue_, type, inputs.key.shape)});
}

double BackwardBench::Error(const AttentionInputs& inputs, const TensorRef<4>& out,
                            const View<const float, 3>& lse,
                            const std::vector<PatternPtr>& patterns) const {
  const auto [batches, heads, rows, dim] = inputs.query.shape;
  const auto [key_batches, kv_heads, keys, key_dim] = inputs.key.shape;
  const AttentionShape shape{rows, keys};
  const ElementType type = inputs.query.type;
  const TensorRef<4> dout = RefTo(dout_, type, inputs.query.shape);
  const Problem problem{inputs, out, dout, lse};
  double worst = 0;
  for (std::int64_t i = 0; i < kSamples; ++i) {
    const std::int64_t head = i * heads / kSamples;
    const std::int64_t row = (i * 7919 + rows - 1) % rows;
    Sums dquery(dim);
    for (std::int64_t key = 0; key < keys; ++key) {
      if (!patterns[head]->Attends(shape, row, key)) continue;
      problem.AddPair(head, row, key, dquery, nullptr);
    }
    worst = std::max(worst, Worst(RefTo(dquery_, type, inputs.query.shape), head, row, dquery));

    const std::int64_t kv_head = i * kv_heads / kSamples;
    const std::int64_t key = (i * 7919 + keys - 1) % keys;
    Sums dkey(dim), dvalue(dim);
    const std::int64_t group = heads / kv_heads;
    for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      for (std::int64_t r = 0; r < rows; ++r) {
        if (patterns[h]->Attends(shape, r, key)) problem.AddPair(h, r, key, dkey, &dvalue);
      }
    }
    worst = std::max(worst, Worst(RefTo(dkey_, type, inputs.key.shape), kv_head, key, dkey));
    worst = std::max(worst, Worst(RefTo(dvalue_, type, inputs.key.shape), kv_head, key, dvalue));
  }
  return worst;
}

}  // namespace foveate
