// The unfused form of neighborhood attention: the weights of every token's window as a tensor, for
// models that need them or add a bias by relative position. Hassani et al. 2023, "Neighborhood
// Attention Transformer", arXiv 2204.07143; by products of matrices as in Hassani et al. 2024,
// "Faster Neighborhood Attention", arXiv 2403.04690.
//
//   A[x,t] = scale q_x . k_y(x,t) + bias[r(x,t)]    P = softmax of A over t    out_x = sum P v_y
//
// y(x,t) is the t-th token of the window of x, row-major; of a causal axis the first ones exist,
// and A is -infinity and P zero for the others. Tiles of 64 queries are multiplied with the tiles
// of keys that their windows touch, a few times the keys they need; windows are read from and
// written to those products.
//
// Cost: 2 D N K multiply-adds for each head, K the product of the windows, times what tiles waste,
// and the memory of N K weights. The fused operator (attention/attention.h) stores no weights and
// is faster: use it where there is no table of biases.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "attention/schedule.h"
#include "base/context.h"
#include "base/tensor.h"
#include "base/tensor_ref.h"
#include "mechanisms/neighborhood_grid.h"

namespace foveate {

// The windows of a grid's tokens, and products over them. Weights are [B, H, N, K]; entries of keys
// that do not exist are not read. Query head h belongs to head h / (H / Hkv) of keys and values.
// Threads share heads of keys, in batches too. Shapes are the caller's to check (see
// window_attention.h, which does).
class NeighborhoodWindows {
 public:
  // Throws Error(kInvalidArgument) for a stride other than 1.
  explicit NeighborhoodWindows(const NeighborhoodGrid& grid);

  const NeighborhoodGrid& grid() const { return grid_; }
  std::int64_t tokens() const { return tokens_; }  // N
  std::int64_t size() const;                       // K
  std::int64_t bias_entries() const;               // of a head's table: the product of 2 window - 1
  bool causal() const;                             // on any axis

  // weights[x,t] = scale * query_x . key_y(x,t); -infinity where no key is.
  void Scores(Context& context, const TensorRef<4>& query, const TensorRef<4>& key, double scale,
              View<float, 4> weights) const;

  // out_x = scale * sum over t of weights[x,t] value_y(x,t)
  void Mix(Context& context, const View<const float, 4>& weights, const TensorRef<4>& value,
           double scale, const MutableTensorRef<4>& out) const;

  // out_y = scale * sum over x, t with y(x,t) = y of weights[x,t] row_x: the transpose of Mix.
  void Spread(Context& context, const View<const float, 4>& weights, const TensorRef<4>& rows,
              double scale, const MutableTensorRef<4>& out) const;

  // weights[h,x,t] += bias[h,r(x,t)], r = (y - x) / dilation + window - 1 on every axis, and the
  // sums of weights by such an index. Tables are [H, bias_entries()].
  void AddBias(Context& context, const View<const float, 2>& bias, View<float, 4> weights) const;
  void SumByBias(Context& context, const View<const float, 4>& weights, View<float, 2> sums) const;

 private:
  static constexpr std::size_t kAxes = 3;

  // What a coordinate sees on one axis.
  struct Reach {
    std::int64_t first = 0;  // coordinate
    std::int64_t count = 0;
    std::int64_t bias = 0;  // index of the first one
  };
  struct Axis {
    NeighborhoodAxis axis;
    std::vector<Reach> reach;  // [length]
  };
  // Entries of a window that lie side by side on the innermost axis.
  struct Run {
    std::int64_t entry = 0;  // t of the first
    std::int64_t token = 0;  // y of the first; the next one is `step` further
    std::int64_t count = 0;
    std::int64_t bias = 0;
  };
  class HeadWork;

  // Calls work(HeadWork, index of a head of keys, counted over batches) for each of `heads`, whose
  // rows have at most `dim` numbers.
  template <typename Work>
  void ForEachHead(Context& context, std::int64_t heads, std::int64_t dim, const Work& work) const;

  template <typename Visit>
  void ForEachRun(std::int64_t token, const Visit& visit) const;
  std::int64_t step() const { return axes_[kAxes - 1].axis.dilation; }

  NeighborhoodGrid grid_;
  std::array<Axis, kAxes> axes_;  // axes of length 1 in front where the grid has fewer
  std::int64_t tokens_ = 1;
  std::shared_ptr<const TokenOrder> order_;
  std::vector<std::int64_t> place_of_;  // [tokens]
  Schedule schedule_;                   // over places
};

}  // namespace foveate
