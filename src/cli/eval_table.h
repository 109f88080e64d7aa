// Summaries of evaluations as tables for people, JSON for programs, and a page with pictures.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/summary.h"

namespace foveate::cli {

nlohmann::ordered_json SummaryJson(const std::vector<EvalSummary>& summaries);

// Plain text for a terminal.
std::string SummaryText(const std::vector<EvalSummary>& summaries);

// Markdown, for documentation. `machines`: where the results were made.
std::string SummaryMarkdown(const std::vector<EvalSummary>& summaries,
                            const std::vector<std::string>& machines);

// An HTML page without anything outside itself: tables, perplexity against attention's time, and
// heat maps of right answers.
std::string SummaryPage(const std::vector<EvalSummary>& summaries,
                        const std::vector<std::string>& machines, const std::string& title);

}  // namespace foveate::cli
