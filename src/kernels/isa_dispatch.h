// Which instruction sets kernels are compiled for, and how to reach the code of one at run time.
// Include it in a kernel's .cc file before anything of Highway's. The .cc file is compiled once per
// target and ends in one table of function pointers, picked by Context::isa():
//
//   // scale.h, plain C++
//   struct ScaleKernels { void (*scale)(float factor, std::span<float> values); };
//   const ScaleKernels& ScaleKernelsFor(Isa isa);
//
//   // scale.cc
//   #include "kernels/isa_dispatch.h"
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels/scale.cc"
//   #include "hwy/foreach_target.h"
//   #include "hwy/highway.h"
//   #include "kernels/scale.h"
//   #include "kernels/simd-inl.h"  // optional: VF and its operations for every target
//   HWY_BEFORE_NAMESPACE();
//   namespace foveate::HWY_NAMESPACE {
//   void Scale(float factor, std::span<float> values) {
//   #if FOVEATE_PLAIN_LOOPS  // no vector operations of Highway's here
//   ...
//   }
//   constexpr ScaleKernels kScaleKernels = {Scale};
//   }  // namespace foveate::HWY_NAMESPACE
//   HWY_AFTER_NAMESPACE();
//   #if HWY_ONCE
//   namespace foveate {
//   const ScaleKernels& ScaleKernelsFor(Isa isa) { return FOVEATE_TABLE_FOR(isa, kScaleKernels); }
//   }  // namespace foveate
//   #endif
//
// No lambdas between BEFORE and AFTER: they do not inherit the target's instruction set.
#pragma once

#include <type_traits>

#include "base/cpu.h"

// Left out: SSSE3 and SSE4 (machines without AVX2 run plain loops) and vectors of unknown size,
// which cannot sit in arrays (Arm machines with SVE run NEON).
#ifdef HWY_DISABLED_TARGETS
#error "include kernels/isa_dispatch.h before any header of Highway's"
#endif
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// True where Highway has no real vectors: the SCALAR target lacks operations, and EMU128 (clang,
// later versions of gcc) is treated alike so that all compilers take the same way.
#define FOVEATE_PLAIN_LOOPS (HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128)

// The table that the file defined in the namespace of the best target within `isa`.
#define FOVEATE_TABLE_FOR(isa, table)                                              \
  ::foveate::ChooseForIsa(isa, HWY_CHOOSE_FALLBACK(table), HWY_CHOOSE_AVX2(table), \
                          HWY_CHOOSE_AVX3(table), HWY_CHOOSE_NEON(table))

namespace foveate {

// A target that was not compiled comes as nullptr and yields the fallback (on 64-bit Arm, where
// NEON is the baseline, the fallback itself is NEON).
template <typename Table>
const Table& ChooseForIsa(Isa isa, const Table* fallback, std::type_identity_t<const Table*> avx2,
                          std::type_identity_t<const Table*> avx3,
                          std::type_identity_t<const Table*> neon) {
  const Table* chosen = nullptr;
  switch (isa) {
    case Isa::kPortable: break;
    case Isa::kAvx2: chosen = avx2; break;
    case Isa::kAvx512:
    case Isa::kAvx512Vnni:
    case Isa::kAmx: chosen = avx3; break;
    case Isa::kNeon:
    case Isa::kNeonDot: chosen = neon; break;
  }
  return chosen != nullptr ? *chosen : *fallback;
}

}  // namespace foveate
