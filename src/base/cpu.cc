#include "base/cpu.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::pair<Isa, const char*> kIsas[] = {
    {Isa::kPortable, "portable"},     {Isa::kAvx2, "avx2"}, {Isa::kAvx512, "avx512"},
    {Isa::kAvx512Vnni, "avx512vnni"}, {Isa::kAmx, "amx"},   {Isa::kNeon, "neon"},
    {Isa::kNeonDot, "neondot"},
};

#if defined(__x86_64__)
// Whether the CPU has them and the system lets this process use them, for which it must be asked.
bool HasMatrixTiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBFloat16Tiles = 1u << 22, kTiles = 1u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kBFloat16Tiles) == 0 || (d & kTiles) == 0) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // of Linux 5.16 and later
  static const bool allowed = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return allowed;
}
#endif

bool MachineRuns(Isa isa) {
  switch (isa) {
    case Isa::kPortable: return true;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi") &&
             __builtin_cpu_supports("bmi2");
    case Isa::kAvx512:
      return MachineRuns(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
    case Isa::kAvx512Vnni: return MachineRuns(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
    case Isa::kAmx: return MachineRuns(Isa::kAvx512Vnni) && HasMatrixTiles();
#elif defined(__aarch64__)
    case Isa::kNeon: return true;
    case Isa::kNeonDot: return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    default: return false;
  }
}

// The value in kB of a line "Name:   123 kB" of a /proc file, in bytes; 0 where it is missing.
std::int64_t ProcBytes(const char* file, const std::string& name) {
  std::ifstream stream(file);
  std::string line;
  while (std::getline(stream, line)) {
    if (line.rfind(name + ":", 0) == 0) {
      return std::strtoll(line.c_str() + name.size() + 1, nullptr, 10) * 1024;
    }
  }
  return 0;
}

// Distinct physical cores among the CPUs that this process may run on.
int PhysicalCores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream siblings(
        fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    std::string core;
    if (!std::getline(siblings, core)) core = std::to_string(cpu);
    cores.insert(core);
  }
  return std::max<int>(1, static_cast<int>(cores.size()));
}

// The CPU quota of the control group in whole CPUs (rounded up), or a large number without one.
int CgroupCpus() {
  constexpr int kUnlimited = 1 << 20;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) {
    return std::max(1, static_cast<int>(std::ceil(std::atof(quota.c_str()) / period)));
  }
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double allowed = 0;
  if (v1_quota >> allowed && v1_period >> period && allowed > 0 && period > 0) {
    return std::max(1, static_cast<int>(std::ceil(allowed / period)));
  }
  return kUnlimited;
}

}  // namespace

const char* IsaName(Isa isa) {
  for (const auto& [value, name] : kIsas) {
    if (value == isa) return name;
  }
  return "unknown";
}

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> result;
  for (const auto& [isa, name] : kIsas) {
    if (MachineRuns(isa)) result.push_back(isa);
  }
  return result;
}

Isa BestIsa() { return SupportedIsas().back(); }

Isa ParseIsa(std::string_view name) {
  std::vector<std::string_view> here;
  for (Isa isa : SupportedIsas()) here.emplace_back(IsaName(isa));
  for (const auto& [isa, isa_name] : kIsas) {
    if (name != isa_name) continue;
    if (MachineRuns(isa)) return isa;
    Throw(ErrorCode::kUnsupported, "this machine lacks the instruction set '{}' (it has: {})", name,
          fmt::join(here, ", "));
  }
  Throw(ErrorCode::kInvalidArgument, "unknown instruction set '{}' (this machine has: {})", name,
        fmt::join(here, ", "));
}

int DefaultThreads() { return std::min(PhysicalCores(), CgroupCpus()); }

MemoryInfo SystemMemory() {
  return {ProcBytes("/proc/meminfo", "MemTotal"), ProcBytes("/proc/meminfo", "MemAvailable")};
}

std::int64_t PeakResidentBytes() { return ProcBytes("/proc/self/status", "VmHWM"); }

std::string CpuName() {
  std::ifstream stream("/proc/cpuinfo");
  std::string line;
  while (std::getline(stream, line)) {
    if (line.rfind("model name", 0) == 0) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

}  // namespace foveate
