#include "reference/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace foveate::reference {
namespace {

// The (fractional) pair index whose angle makes `rotations` turns over the original context.
double YarnPair(const RopeConfig& config, double rotations) {
  const double turns =
      static_cast<double>(config.original_context) / (2 * std::numbers::pi * rotations);
  return static_cast<double>(config.dimensions) * std::log(turns) / (2 * std::log(config.base));
}

// "YaRN: Efficient Context Window Extension of Large Language Models", arXiv:2309.00071, section 3:
// pairs that turn often keep their frequency, pairs that turn less than once are interpolated.
void ApplyYarn(const RopeConfig& config, Rope& rope) {
  const double low = std::max(0.0, std::floor(YarnPair(config, config.beta_fast)));
  const double high = std::min(static_cast<double>(config.dimensions - 1),
                               std::ceil(YarnPair(config, config.beta_slow)));
  for (std::size_t i = 0; i < rope.frequencies.size(); ++i) {
    const double ramp = (static_cast<double>(i) - low) / std::max(0.001, high - low);
    const double keep = (1 - std::clamp(ramp, 0.0, 1.0)) * config.extrapolation;
    rope.frequencies[i] *= keep + (1 - keep) / config.factor;
  }
  if (config.extrapolation == 0 || config.factor <= 1) return;
  const double stretch = 0.1 * std::log(config.factor);
  rope.magnitude *= (stretch + 1) / (config.log_multiplier * stretch + 1);
}

}  // namespace

Rope MakeRope(const RopeConfig& config, std::span<const double> divisors) {
  const auto dimensions = static_cast<double>(config.dimensions);
  double base = config.base;
  if (config.scaling == RopeScaling::kNtk) {
    base *= std::pow(config.factor, dimensions / (dimensions - 2));
  }
  Rope rope;
  rope.adjacent_pairs = config.adjacent_pairs;
  for (std::int64_t i = 0; i < config.dimensions / 2; ++i) {
    rope.frequencies.push_back(std::pow(base, -2.0 * static_cast<double>(i) / dimensions));
    if (!divisors.empty()) rope.frequencies.back() /= divisors[i];
    if (config.scaling == RopeScaling::kLinear) rope.frequencies.back() /= config.factor;
  }
  if (config.scaling == RopeScaling::kYarn) ApplyYarn(config, rope);
  if (config.scaling == RopeScaling::kYarn || config.scaling == RopeScaling::kLongRope) {
    rope.magnitude *= config.attention_factor;
  }
  return rope;
}

void Rope::Rotate(std::span<double> head, std::int64_t position) const {
  const std::size_t half = frequencies.size();
  for (std::size_t i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    const double cosine = magnitude * std::cos(angle);
    const double sine = magnitude * std::sin(angle);
    double& u = adjacent_pairs ? head[2 * i] : head[i];
    double& v = adjacent_pairs ? head[2 * i + 1] : head[i + half];
    const double rotated_u = u * cosine - v * sine;
    v = u * sine + v * cosine;
    u = rotated_u;
  }
}

}  // namespace foveate::reference
