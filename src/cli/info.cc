// `foveate info`: what the program sees of this machine.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/cpu.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "runtime/model_store.h"

namespace foveate::cli {
namespace {

int Info(bool json) {
  std::vector<std::string> isas;
  for (Isa isa : SupportedIsas()) isas.emplace_back(IsaName(isa));
  const MemoryInfo memory = SystemMemory();
  if (json) {
    PrintJson({{"version", FOVEATE_VERSION},
               {"cpu", CpuName()},
               {"isa", IsaName(BestIsa())},
               {"isas", isas},
               {"threads", DefaultThreads()},
               {"memory_bytes", memory.total_bytes},
               {"available_bytes", memory.available_bytes},
               {"cache", DefaultCacheFolder()}});
    return kExitOk;
  }
  fmt::print("foveate       {}\n", FOVEATE_VERSION);
  fmt::print("CPU           {}\n", CpuName());
  fmt::print("ISA           {} (of {})\n", IsaName(BestIsa()), fmt::join(isas, ", "));
  fmt::print("threads       {}\n", DefaultThreads());
  fmt::print("memory        {}, {} available\n",
             HumanBytes(static_cast<double>(memory.total_bytes)),
             HumanBytes(static_cast<double>(memory.available_bytes)));
  fmt::print("cache folder  {}\n", DefaultCacheFolder());
  return kExitOk;
}

}  // namespace

void AddInfoVerb(CLI::App& app, Work& work) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("info", "Instruction sets, threads, memory, cache folder");
  verb->add_flag("--json", *json, "print one JSON object");
  verb->callback([=, &work] { work = [=] { return Info(*json); }; });
}

}  // namespace foveate::cli
