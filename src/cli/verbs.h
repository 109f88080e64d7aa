// One function per verb of the program: it adds a subcommand with its flags to `app`. When the
// subcommand is chosen, its callback does the work and returns the exit code through `exit_code`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace foveate::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitCheckFailed = 1;  // a comparison that the user asked for does not hold
inline constexpr int kExitBadInput = 2;     // a flag, file or request that cannot be served
inline constexpr int kExitInternal = 3;     // a fault of ours
inline constexpr int kExitInterrupted = 130;

// The work of the chosen verb; empty until the command line has been parsed.
using Work = std::function<int()>;

void AddRunVerb(CLI::App& app, Work& work);
void AddTokenizeVerb(CLI::App& app, Work& work);
void AddScoreVerb(CLI::App& app, Work& work);
void AddCheckVerb(CLI::App& app, Work& work);
void AddEvalVerb(CLI::App& app, Work& work);
void AddReportVerb(CLI::App& app, Work& work);
void AddMechanismsVerb(CLI::App& app, Work& work);
void AddShowVerb(CLI::App& app, Work& work);
void AddPlanVerb(CLI::App& app, Work& work);
void AddPlanKineticsVerb(CLI::App& plan, Work& work);  // a verb of `plan`
void AddInspectVerb(CLI::App& app, Work& work);
void AddAttendVerb(CLI::App& app, Work& work);
void AddBenchVerb(CLI::App& app, Work& work);
void AddBenchAttentionVerb(CLI::App& bench, Work& work);  // a verb of `bench`
void AddBenchCompareVerb(CLI::App& bench, Work& work);    // likewise
void AddInfoVerb(CLI::App& app, Work& work);
void AddPullVerb(CLI::App& app, Work& work);
void AddListVerb(CLI::App& app, Work& work);
void AddRmVerb(CLI::App& app, Work& work);

}  // namespace foveate::cli
