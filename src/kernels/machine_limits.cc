#include "kernels/machine_limits.h"

#include <algorithm>
#include <cstdint>

#include "base/buffer.h"
#include "base/stopwatch.h"
#include "kernels/isa_dispatch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine_limits.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef FOVEATE_MACHINE_LIMITS_ONCE
#define FOVEATE_MACHINE_LIMITS_ONCE
namespace foveate {

// Chains of operations that depend on themselves only: enough of them to fill every pipe.
constexpr int kChains = 12;

// Each runs `rounds` operations on every chain and returns how many operations that was.
struct LimitLoops {
  double (*fma)(std::int64_t rounds, float* sink);
  double (*int8)(std::int64_t rounds, std::int32_t* sink);
  float (*read)(const float* data, std::int64_t count);  // count is a multiple of 1024
};

}  // namespace foveate
#endif

HWY_BEFORE_NAMESPACE();
namespace foveate::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F = hn::ScalableTag<float>;
using VF = hn::Vec<F>;

double FmaLoop(std::int64_t rounds, float* sink) {
  const F f;
  VF chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = hn::Set(f, sink[0] + static_cast<float>(i));
  const VF factor = hn::Set(f, 0.999f), term = hn::Set(f, sink[0]);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = hn::MulAdd(chains[i], factor, term);
  }
  VF sum = chains[0];
  for (int i = 1; i < kChains; ++i) sum = hn::Add(sum, chains[i]);
  sink[0] = hn::GetLane(sum) * 1e-30f;
  return 2.0 * kChains * static_cast<double>(hn::Lanes(f)) * static_cast<double>(rounds);
}

float ReadLoop(const float* data, std::int64_t count) {
  const F f;
  constexpr int kStreams = 4;
  VF sums[kStreams];
  for (VF& sum : sums) sum = hn::Zero(f);
  const std::int64_t lanes = hn::Lanes(f);
  for (std::int64_t i = 0; i < count; i += kStreams * lanes) {
    for (int s = 0; s < kStreams; ++s) {
      sums[s] = hn::Add(sums[s], hn::LoadU(f, data + i + s * lanes));
    }
  }
  return hn::GetLane(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

#if HWY_TARGET == HWY_AVX2
// The multiplication of AVX2's 8-bit kernels: 32 products summed to 16 bits.
double Int8Loop(std::int64_t rounds, std::int32_t* sink) {
  __m256i chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm256_set1_epi32(sink[0] + i);
  const __m256i factor = _mm256_set1_epi8(static_cast<char>(sink[0] & 3));
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = _mm256_maddubs_epi16(chains[i], factor);
  }
  __m256i sum = chains[0];
  for (int i = 1; i < kChains; ++i) sum = _mm256_add_epi16(sum, chains[i]);
  sink[0] = _mm256_extract_epi32(sum, 0) & 1;
  return 32.0 * kChains * static_cast<double>(rounds);
}
#elif HWY_TARGET == HWY_AVX3
double Int8Loop(std::int64_t rounds, std::int32_t* sink) {
  __m512i chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_epi32(sink[0] + i);
  const __m512i factor = _mm512_set1_epi8(static_cast<char>(sink[0] & 3));
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = _mm512_maddubs_epi16(chains[i], factor);
  }
  __m512i sum = chains[0];
  for (int i = 1; i < kChains; ++i) sum = _mm512_add_epi16(sum, chains[i]);
  alignas(64) std::int32_t lanes[16];
  _mm512_store_si512(lanes, sum);
  sink[0] = lanes[0] & 1;
  return 64.0 * kChains * static_cast<double>(rounds);
}
#else
double Int8Loop(std::int64_t rounds, std::int32_t* sink) {
  std::int32_t chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = sink[0] + i;
  const std::int32_t factor = sink[0] & 3;
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = (chains[i] & 127) * factor + i;
  }
  std::int32_t sum = 0;
  for (std::int32_t chain : chains) sum += chain;
  sink[0] = sum & 1;
  return static_cast<double>(kChains) * static_cast<double>(rounds);
}
#endif

}  // namespace

constexpr LimitLoops kLimitLoops = {FmaLoop, Int8Loop, ReadLoop};

}  // namespace foveate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foveate {
namespace {

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512vnni"))) double VnniLoop(std::int64_t rounds,
                                                                       std::int32_t* sink) {
  __m512i chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_epi32(sink[0] + i);
  const __m512i a = _mm512_set1_epi8(static_cast<char>(sink[0] & 3));
  const __m512i b = _mm512_set1_epi8(static_cast<char>(sink[0] & 1));
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = _mm512_dpbusd_epi32(chains[i], a, b);
  }
  __m512i sum = chains[0];
  for (int i = 1; i < kChains; ++i) sum = _mm512_add_epi32(sum, chains[i]);
  alignas(64) std::int32_t lanes[16];
  _mm512_store_si512(lanes, sum);
  sink[0] = lanes[0] & 1;
  return 64.0 * kChains * static_cast<double>(rounds);
}
#endif
#if defined(__aarch64__)
__attribute__((target("arch=armv8.2-a+dotprod"))) double NeonDotLoop(std::int64_t rounds,
                                                                     std::int32_t* sink) {
  int32x4_t chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = vdupq_n_s32(sink[0] + i);
  const int8x16_t a = vdupq_n_s8(static_cast<std::int8_t>(sink[0] & 3));
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kChains; ++i) chains[i] = vdotq_s32(chains[i], a, a);
  }
  int32x4_t sum = chains[0];
  for (int i = 1; i < kChains; ++i) sum = vaddq_s32(sum, chains[i]);
  sink[0] = vgetq_lane_s32(sum, 0) & 1;
  return 16.0 * kChains * static_cast<double>(rounds);
}
#endif

LimitLoops LoopsFor(Isa isa) {
  LimitLoops loops = FOVEATE_TABLE_FOR(isa, kLimitLoops);
#if defined(__x86_64__)
  if (HasVnni(isa)) loops.int8 = VnniLoop;
#elif defined(__aarch64__)
  if (isa == Isa::kNeonDot) loops.int8 = NeonDotLoop;
#endif
  return loops;
}

// The rate of `work`, which returns how much it did, in units of 1e9 per second.
template <typename Work>
double Rate(Work&& work) {
  const Stopwatch watch;
  const double amount = work();
  return amount / watch.Seconds() * 1e-9;
}

template <typename Measure>
double Best(Measure&& measure) {
  constexpr int kRounds = 8;
  double best = 0;
  for (int round = 0; round < kRounds; ++round) best = std::max(best, measure());
  return best;
}

constexpr std::int64_t kOperations = 1 << 20;

double MeasureInt8(Context& context) {
  const LimitLoops loops = LoopsFor(context.isa());
  return Rate([&] {
    std::atomic<double> total = 0;
    context.pool().ForEach(context.pool().size(), [&](std::int64_t, int) {
      std::int32_t sink = 0;
      total.fetch_add(loops.int8(kOperations, &sink));
    });
    return total.load();
  });
}

}  // namespace

double MeasureFma(Context& context) {
  const LimitLoops loops = LoopsFor(context.isa());
  return Rate([&] {
    std::atomic<double> total = 0;
    context.pool().ForEach(context.pool().size(), [&](std::int64_t, int) {
      float sink = 1;  // from 0 the chains would decay to denormals, slow on some processors
      total.fetch_add(loops.fma(kOperations, &sink));
    });
    return total.load();
  });
}

double MeasureReading(Context& context, std::span<const float> memory) {
  const LimitLoops loops = LoopsFor(context.isa());
  const int threads = context.pool().size();
  const std::int64_t share = std::ssize(memory) / threads / 1024 * 1024;
  std::atomic<float> sink = 0;
  return Rate([&] {
    context.pool().ForEach(threads, [&](std::int64_t part, int) {
      sink.store(loops.read(memory.data() + part * share, share), std::memory_order_relaxed);
    });
    return static_cast<double>(share * threads) * sizeof(float);
  });
}

MachineLimits MeasureMachineLimits(Context& context) {
  constexpr std::int64_t kFloats = std::int64_t{32} << 20;  // 128 MB
  MachineLimits limits;
  limits.fma_gflops = Best([&] { return MeasureFma(context); });
  limits.int8_gmacs = Best([&] { return MeasureInt8(context); });
  Buffer<float> memory(kFloats);
  std::fill(memory.begin(), memory.end(), 1.0f);
  limits.read_gb_per_second = Best([&] { return MeasureReading(context, memory.span()); });
  return limits;
}

}  // namespace foveate
#endif
