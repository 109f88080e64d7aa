#include <algorithm>
#include <limits>

#include "runtime/golden.h"

namespace foveate {
namespace {

constexpr double kAny = std::numeric_limits<double>::infinity();

enum Rounding { kExact, kHalfCache, kEightBit };

Rounding RoundingOf(const DecoderOptions& options) {
  const auto any = [&](KvType type) {
    return options.key_type == type || options.value_type == type;
  };
  if (options.activations == ActivationMode::kQ8 || any(KvType::kBF16) || any(KvType::kQ8_0) ||
      any(KvType::kQ4_0)) {
    return kEightBit;
  }
  return any(KvType::kF16) ? kHalfCache : kExact;
}

// For SmolLM2 and models of its kind: 8-bit activations change 2 to 3 % of greedy choices.
GoldenTolerance GeneralTolerance(Rounding rounding) {
  switch (rounding) {
    case kExact:
      return {.name = "f32 activations, f32 cache",
              .logit_max = 2e-3,
              .logit_rms = 5e-4,
              .logit_rms_mean = kAny,
              .top_gap = 4e-3,
              .logprob_max = 1e-3,
              .logprob_mean = kAny,
              .margin = 5e-3,
              .agreement = 0,
              .mean_nll = 1e-4};
    case kHalfCache:
      return {.name = "f32 activations, f16 cache",
              .logit_max = 0.06,
              .logit_rms = 0.02,
              .logit_rms_mean = kAny,
              .top_gap = 0.12,
              .logprob_max = 0.1,
              .logprob_mean = kAny,
              .margin = 0.1,
              .agreement = 0.99,
              .mean_nll = 1e-3};
    case kEightBit: break;
  }
  return {.name = "8-bit activations or cache",
          .logit_max = 1.5,
          .logit_rms = 0.5,
          .logit_rms_mean = 0.3,
          .top_gap = 1.5,
          .logprob_max = 0.6,
          .logprob_mean = kAny,
          .margin = 0.6,
          .agreement = 0.94,
          .mean_nll = 0.013};
}

// Gemma 3's large residual stream makes its logits move more under 8-bit activations.
GoldenTolerance GemmaTolerance(Rounding rounding) {
  switch (rounding) {
    case kExact:
      return {.name = "f32 activations, f32 cache",
              .logit_max = 2e-3,
              .logit_rms = 5e-4,
              .logit_rms_mean = kAny,
              .top_gap = 4e-3,
              .logprob_max = 1e-3,
              .logprob_mean = kAny,
              .margin = 5e-3,
              .agreement = 0,
              .mean_nll = 2e-4};
    case kHalfCache:
      return {.name = "f32 activations, f16 cache",
              .logit_max = 0.05,
              .logit_rms = 0.01,
              .logit_rms_mean = kAny,
              .top_gap = kAny,
              .top_golden = 10,
              .top_engine = 12,
              .top_least = 10,
              .logprob_max = 0.05,
              .logprob_mean = kAny,
              .margin = 0.05,
              .agreement = 0.99,
              .mean_nll = 1e-3};
    case kEightBit: break;
  }
  return {.name = "8-bit activations or cache",
          .logit_max = 3.0,
          .logit_rms = 0.9,
          .logit_rms_mean = 0.4,
          .top_gap = kAny,
          .top_golden = 10,
          .top_engine = 10,
          .top_least = 7,
          .logprob_max = 0.7,
          .logprob_mean = 0.06,
          .margin = 1.3,
          .agreement = 0.93,
          .mean_nll = 0.02};
}

}  // namespace

GoldenTolerance ToleranceFor(const nlohmann::json& golden, const DecoderOptions& options) {
  std::string name = golden.at("model").at("name");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  const Rounding rounding = RoundingOf(options);
  return name.find("gemma") == std::string::npos ? GeneralTolerance(rounding)
                                                 : GemmaTolerance(rounding);
}

}  // namespace foveate
