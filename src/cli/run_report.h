// What a generation cost: a line for people, an object for programs.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/progress.h"
#include "runtime/generate.h"

namespace foveate::cli {

std::string RunReportLine(const GenerateResult& result, const Session& session);
nlohmann::ordered_json RunReportJson(const GenerateResult& result, const Session& session,
                                     double load_seconds);

// A hook that shows how much of a long prompt has been read.
std::function<void(std::int64_t, std::int64_t)> PrefillProgress(ProgressBar& bar);

}  // namespace foveate::cli
