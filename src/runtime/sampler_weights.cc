#include "runtime/sampler_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/throw.h"

namespace foveate {
namespace {

// Vectors of the compiler (GCC and clang alike): every 64-bit machine has registers of this size,
// so no run-time choice is needed and every machine adds in the same order.
constexpr std::int64_t kLanes = 4;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));

// Enough independent sums or maxima to hide the latency of one.
constexpr std::int64_t kUnroll = 4;
constexpr std::int64_t kStep = kLanes * kUnroll;

inline Floats Load(const float* from) {
  Floats v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Floats Broadcast(float x) { return Floats{x, x, x, x}; }

// exp(x) for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor polynomial of exp(r), whose
// first neglected term is 1.2e-7 there, and n added to the exponent field.
inline Floats ExpNonPositive(Floats x) {
  const Floats lowest = Broadcast(-85.0f);  // exp(-85) = 1.2e-37: the result stays a normal number
  const Floats round = Broadcast(0x1.8p23f);
  const Floats clamped = x > lowest ? x : lowest;
  const Floats shifted = clamped * 0x1.715476p+0f + round;
  const Floats n = shifted - round;
  const Floats r = (clamped - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  Floats y = Broadcast(1.0f / 720);
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  const Floats power = std::bit_cast<Floats>((std::bit_cast<Ints>(shifted) + 127) << 23);
  return x > lowest ? y * power : Broadcast(0);
}

double SumBlock(const float* weights, std::int64_t n) {
  Floats lanes[kUnroll] = {};
  std::int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    for (std::int64_t j = 0; j < kUnroll; ++j) lanes[j] += Load(weights + i + j * kLanes);
  }
  const Floats all = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  double sum = 0;
  for (std::int64_t j = 0; j < kLanes; ++j) sum += all[j];
  for (; i < n; ++i) sum += weights[i];
  return sum;
}

// The block's maximum; `broken` is set by a NaN or +inf.
float MaxBlock(const float* logits, std::int64_t n, bool& broken) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  constexpr float kHighest = std::numeric_limits<float>::max();
  const Floats highest = Broadcast(kHighest);
  Floats lanes[kUnroll];
  std::fill(lanes, lanes + kUnroll, Broadcast(kLowest));
  Ints fine = Ints{-1, -1, -1, -1};
  std::int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    for (std::int64_t j = 0; j < kUnroll; ++j) {
      const Floats x = Load(logits + i + j * kLanes);
      lanes[j] = x > lanes[j] ? x : lanes[j];
      fine &= x <= highest;
    }
  }
  float max = kLowest;
  bool all_fine = true;
  for (std::int64_t j = 0; j < kStep; ++j) max = std::max(max, lanes[j / kLanes][j % kLanes]);
  for (std::int64_t j = 0; j < kLanes; ++j) all_fine = all_fine && fine[j] != 0;
  for (; i < n; ++i) {
    all_fine = all_fine && logits[i] <= kHighest;
    if (logits[i] > max) max = logits[i];
  }
  broken = broken || !all_fine;
  return max;
}

[[noreturn]] void ThrowBroken(std::span<const float> logits) {
  for (std::int64_t i = 0; i < std::ssize(logits); ++i) {
    if (!(logits[i] <= std::numeric_limits<float>::max())) {
      Throw(ErrorCode::kNumerical, "the logit of token {} is {}, expected a finite number or -inf",
            i, logits[i]);
    }
  }
  Throw(ErrorCode::kNumerical, "a logit is not a finite number");
}

}  // namespace

void ShiftedExp(std::span<const float> logits, float shift, std::span<float> weights) {
  const std::int64_t n = std::ssize(logits);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Floats result = ExpNonPositive(Load(logits.data() + i) - shift);
    std::memcpy(weights.data() + i, &result, sizeof result);
  }
  for (; i < n; ++i) weights[i] = ExpNonPositive(Broadcast(logits[i] - shift))[0];
}

double SumWeights(std::span<const float> weights) {
  const std::int64_t n = std::ssize(weights);
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += kSamplerBlock) {
    sum += SumBlock(weights.data() + i, std::min(kSamplerBlock, n - i));
  }
  return sum;
}

double LogSumExp(std::span<const float> logits, float max) {
  const std::int64_t n = std::ssize(logits);
  float block[kSamplerBlock];
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += kSamplerBlock) {
    const std::int64_t size = std::min(kSamplerBlock, n - i);
    ShiftedExp(logits.subspan(i, size), max, {block, static_cast<std::size_t>(size)});
    sum += SumBlock(block, size);
  }
  return std::log(sum) + max;
}

void BlockMaxima(std::span<const float> logits, std::vector<float>& maxima) {
  const std::int64_t n = std::ssize(logits);
  maxima.resize((n + kSamplerBlock - 1) / kSamplerBlock);
  bool broken = false;
  for (std::int64_t i = 0; i < n; i += kSamplerBlock) {
    maxima[i / kSamplerBlock] = MaxBlock(logits.data() + i, std::min(kSamplerBlock, n - i), broken);
  }
  if (broken) ThrowBroken(logits);
}

std::int64_t PickWeighted(std::span<const float> weights, double u) {
  const std::int64_t n = std::ssize(weights);
  const double target = u * SumWeights(weights);
  double sum = 0;
  std::int64_t picked = -1;
  for (std::int64_t begin = 0; begin < n; begin += kSamplerBlock) {
    const std::int64_t size = std::min(kSamplerBlock, n - begin);
    const double block = SumBlock(weights.data() + begin, size);
    // Rounding can leave the running sum inside a block a little short of the block's own: then the
    // last positive weight of the block is the one.
    if (block > 0 && sum + block >= target) {
      for (std::int64_t i = begin; i < begin + size; ++i) {
        if (weights[i] == 0) continue;
        picked = i;
        sum += weights[i];
        if (sum >= target) break;
      }
      return picked;
    }
    sum += block;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    if (weights[i] > 0) picked = i;
  }
  return picked;
}

}  // namespace foveate
