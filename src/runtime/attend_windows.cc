#include "runtime/attend_windows.h"

#include <cmath>

#include "base/throw.h"

namespace foveate {
namespace {

NeighborhoodGrid GridOf(const AttentionSpec& spec) {
  const SpecNode& node = *spec.At(0, 0).node;
  const bool one = spec.At(0, 0).heads.end == kNoEnd && node.kind == SpecNode::Kind::kMechanism;
  if (!one || node.mechanism.front().mechanism().name != "neighborhood") {
    Throw(ErrorCode::kInvalidArgument,
          "attention: weights are stored of a neighborhood only, the same for all heads, but the "
          "spec is '{}'",
          ToText(spec));
  }
  return MakeNeighborhoodGrid(node.mechanism.front());
}

}  // namespace

AttendWindows::AttendWindows(const SafetensorsFile& file, const AttentionSpec& spec,
                             std::optional<float> scale, std::int64_t heads)
    : windows_(GridOf(spec)), scale_(scale), heads_(heads) {
  const StoredTensor* bias = file.FindTensor("rpb");
  if (bias == nullptr) return;
  bias_shape_ = {heads};
  for (const NeighborhoodAxis& axis : windows_.grid().axes) {
    bias_shape_.push_back(2 * axis.window - 1);
  }
  if (bias->shape != bias_shape_) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: rpb has shape {}, expected {} (heads, and 2 window - 1 of every axis)", file.path(),
          ShapeText(bias->shape), ShapeText(bias_shape_));
  }
  bias_ = Widened(file, *bias);
}

WindowOptions AttendWindows::Options() const {
  WindowOptions options{.scale = scale_};
  if (!bias_.empty()) {
    options.bias = MakeView<const float>(bias_.data(), heads_, windows_.bias_entries());
  }
  return options;
}

void AttendWindows::Forward(Context& context, const AttentionInputs& inputs,
                            const AttentionOutputs& outputs) {
  const std::int64_t batches = inputs.query.shape[0], tokens = inputs.query.shape[2];
  const Shape4 shape{batches, heads_, tokens, windows_.size()};
  CheckWindowAttention(windows_, inputs, Options());
  logits_.emplace("logits", shape);
  probs_.emplace("probs", shape);
  const auto view = [&](NamedTensor& tensor) {
    return MakeView(tensor.values.data(), batches, heads_, tokens, windows_.size());
  };
  WindowAttention(context, windows_, inputs, Options(), view(*probs_), outputs, view(*logits_));
  lse_.assign(outputs.lse.data, outputs.lse.data + batches * heads_ * tokens);
}

void AttendWindows::Backward(Context& context, const AttentionBackwardInputs& inputs,
                             const AttentionGradients& gradients) {
  const auto [batches, heads, tokens, size] = inputs.forward.query.shape;
  std::vector<float> weights = probs_->values;
  for (std::int64_t row = 0; row < std::ssize(lse_); ++row) {
    const float share =
        std::exp(lse_[row] - inputs.lse.data[row]);  // of the windows among all keys
    for (std::int64_t t = 0; t < windows_.size(); ++t) weights[row * windows_.size() + t] *= share;
  }
  View<float, 2> dbias{};
  if (!bias_.empty()) {
    dbias_.emplace("drpb", bias_shape_);
    dbias = MakeView(dbias_->values.data(), heads, windows_.bias_entries());
  }
  WindowAttentionBackward(
      context, windows_, inputs, Options(),
      MakeView<const float>(weights.data(), batches, heads, tokens, windows_.size()), gradients,
      dbias);
}

}  // namespace foveate
