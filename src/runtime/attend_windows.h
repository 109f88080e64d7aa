// Neighborhood attention on the tensors of a file, with its weights stored.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/context.h"
#include "mechanisms/spec.h"
#include "mechanisms/window_attention.h"
#include "runtime/attend_tensors.h"

namespace foveate {

// One call: scores and weights stay from the forward to the backward pass.
class AttendWindows {
 public:
  // `rpb` [H, 2 window - 1, ...] of the file, where it is there, is the bias by relative position.
  // Throws Error(kInvalidArgument) for a spec that is not one neighborhood for all heads, and for a
  // table of another shape.
  AttendWindows(const SafetensorsFile& file, const AttentionSpec& spec, std::optional<float> scale,
                std::int64_t heads);

  void Forward(Context& context, const AttentionInputs& inputs, const AttentionOutputs& outputs);

  // After the forward pass; inputs.out and inputs.lse may have other keys merged in.
  void Backward(Context& context, const AttentionBackwardInputs& inputs,
                const AttentionGradients& gradients);

  // logits and probs [B, H, N, K], after the forward pass.
  std::vector<NamedTensor> weights() const { return {*logits_, *probs_}; }

  // drpb, after the backward pass, where there is an rpb.
  const std::optional<NamedTensor>& bias_gradient() const { return dbias_; }

 private:
  WindowOptions Options() const;

  NeighborhoodWindows windows_;
  std::optional<float> scale_;
  std::int64_t heads_;
  std::vector<std::int64_t> bias_shape_;
  std::vector<float> bias_;
  std::optional<NamedTensor> logits_, probs_, dbias_;
  std::vector<float> lse_;  // of the windows alone
};

}  // namespace foveate
