// The backward pass on the tensors of the attention benchmark, and what float64 says of it.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/attention_backward.h"

namespace foveate {

class BackwardBench {
 public:
  // Of inputs [1, H or Hkv, N or M, D]; all tensors have the type of the query.
  explicit BackwardBench(const AttentionInputs& inputs);

  void Run(Context& context, const AttentionInputs& inputs, const TensorRef<4>& out,
           const View<const float, 3>& lse, const AttentionOptions& options,
           AttentionScratch& scratch);

  // The largest error of the gradients of sampled rows and keys against float64 of the same
  // tensors, out and lse among them, as a share of the rounding bound: 16 * 2^-24 times
  // (1 + S + |lse|) p |dout| max |v| |scale k|, summed over keys, for a query; likewise for keys
  // and values; and the rounding of the type.
  double Error(const AttentionInputs& inputs, const TensorRef<4>& out,
               const View<const float, 3>& lse, const std::vector<PatternPtr>& patterns) const;

 private:
  std::vector<std::byte> dout_, dquery_, dkey_, dvalue_;
};

}  // namespace foveate
