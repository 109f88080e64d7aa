// What the machine under us can do: instruction sets, cores, memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foveate {

// The instruction sets that kernels are written for, weakest first within an architecture.
enum class Isa {
  kPortable,    // plain loops: any machine
  kAvx2,        // x86: AVX2, FMA, F16C, BMI
  kAvx512,      // x86: AVX-512 F, BW, CD, DQ, VL
  kAvx512Vnni,  // x86: the above with 8-bit dot products
  kAmx,         // x86: the above with matrix tiles of bfloat16
  kNeon,        // 64-bit Arm
  kNeonDot,     // 64-bit Arm with 8-bit dot products
};

// "portable", "avx2", "avx512", "avx512vnni", "amx", "neon", "neondot"
const char* IsaName(Isa isa);

// Whether kernels may use the 8-bit dot products of AVX-512.
constexpr bool HasVnni(Isa isa) { return isa == Isa::kAvx512Vnni || isa == Isa::kAmx; }

// The instruction sets this machine runs, weakest first; never empty.
std::vector<Isa> SupportedIsas();
Isa BestIsa();

// The ISA of that name; throws Error: kInvalidArgument for an unknown name, kUnsupported for one
// that this machine lacks, with the list of those it has.
Isa ParseIsa(std::string_view name);

// Worker threads to use by default: the smallest of physical cores, affinity mask and cgroup quota.
int DefaultThreads();

struct MemoryInfo {
  std::int64_t total_bytes = 0;      // physical memory of the machine
  std::int64_t available_bytes = 0;  // what can be had without swapping
};
MemoryInfo SystemMemory();

// The largest resident set of this process so far, in bytes (VmHWM).
std::int64_t PeakResidentBytes();

std::string CpuName();

}  // namespace foveate
