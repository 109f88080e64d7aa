#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/throw.h"
#include "format/quant.h"

namespace foveate {
namespace {

// Yarn (arXiv:2309.00071): pairs that turn often within the original context keep their frequency,
// pairs that turn less than once are interpolated, those between are blended.
double YarnMagnitude(const RopeScaling& scaling) {
  const double log_factor = 0.1 * std::log(scaling.factor);
  const double damping = scaling.log_multiplier == 0 ? 1 : scaling.log_multiplier * log_factor + 1;
  return (log_factor + 1) / damping * scaling.attention_factor;
}

void ApplyYarn(double base, const RopeScaling& scaling, std::vector<double>& theta) {
  const double dim = 2.0 * static_cast<double>(theta.size());
  const auto pair_turning = [&](double turns) {
    return dim *
           std::log(static_cast<double>(scaling.original_context) /
                    (2 * std::numbers::pi * turns)) /
           (2 * std::log(base));
  };
  const double low = std::max(0.0, std::floor(pair_turning(scaling.beta_fast)));
  const double high = std::min(dim - 1, std::ceil(pair_turning(scaling.beta_slow)));
  for (std::size_t i = 0; i < theta.size(); ++i) {
    const double ramp = (static_cast<double>(i) - low) / std::max(0.001, high - low);
    const double keep = 1 - std::clamp(ramp, 0.0, 1.0);
    theta[i] = keep * theta[i] + (1 - keep) * theta[i] / scaling.factor;
  }
}

std::vector<float> ReadFactors(const GgufFile& file, const char* name, std::int64_t pairs) {
  const StoredTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) return {};
  if (tensor->elements() != pairs || !CanDequantize(tensor->type)) {
    Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' has {} values, expected {}", file.path(), name,
          tensor->elements(), pairs);
  }
  std::vector<float> factors(pairs);
  DequantizeRow(tensor->type, tensor->bytes.data(), factors);
  for (float factor : factors) {
    if (!std::isfinite(factor) || factor <= 0) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' holds {}, expected factors > 0", file.path(),
            name, factor);
    }
  }
  return factors;
}

}  // namespace

RopeFrequencies::RopeFrequencies(double base, std::int64_t rope_dim, const RopeScaling& scaling,
                                 std::span<const float> factors)
    : theta_(rope_dim / 2) {
  const double dim = static_cast<double>(rope_dim);
  if (scaling.type == RopeScalingType::kNtk && rope_dim > 2) {
    base *= std::pow(scaling.factor, dim / (dim - 2));
  }
  for (std::size_t i = 0; i < theta_.size(); ++i) {
    theta_[i] = std::pow(base, -2.0 * static_cast<double>(i) / dim);
    if (!factors.empty()) theta_[i] /= factors[i];
  }
  if (scaling.type == RopeScalingType::kLinear) {
    for (double& theta : theta_) theta /= scaling.factor;
  } else if (scaling.type == RopeScalingType::kYarn) {
    ApplyYarn(base, scaling, theta_);
    magnitude_ = YarnMagnitude(scaling);
  } else if (scaling.type == RopeScalingType::kLongRope) {
    magnitude_ = scaling.attention_factor;
  }
}

void RopeFrequencies::Row(std::int64_t position, float* cosine, float* sine) const {
  for (std::size_t i = 0; i < theta_.size(); ++i) {
    const double angle = static_cast<double>(position) * theta_[i];
    cosine[i] = static_cast<float>(std::cos(angle) * magnitude_);
    sine[i] = static_cast<float>(std::sin(angle) * magnitude_);
  }
}

RopeTables MakeRopeTables(const GgufFile& file, const ModelConfig& config,
                          std::int64_t session_context) {
  const std::int64_t pairs = config.rope_dim / 2;
  std::vector<float> factors = ReadFactors(file, "rope_freqs.weight", pairs);
  if (config.rope_scaling.type == RopeScalingType::kLongRope) {
    const bool beyond = session_context > config.rope_scaling.original_context;
    factors =
        ReadFactors(file, beyond ? "rope_factors_long.weight" : "rope_factors_short.weight", pairs);
  }
  RopeFrequencies global(config.rope_base, config.rope_dim, config.rope_scaling, factors);
  if (config.local_rope_base == 0) return {global, global};
  return {global, RopeFrequencies(config.local_rope_base, config.rope_dim, RopeScaling{}, {})};
}

}  // namespace foveate
