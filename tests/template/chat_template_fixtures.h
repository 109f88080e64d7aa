// What the tests of chat templates share.
#pragma once

#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "template/chat_template.h"

namespace foveate {

// Friday 2025-01-31 09:05:07, when the expected outputs were made.
std::tm GoldenTime();

nlohmann::ordered_json ReadJson(const std::string& name);  // of the test data
std::string ReadText(const std::string& name);

std::string RenderText(std::string_view source, const nlohmann::ordered_json& context = {});

// The rendered text with the stretches that come from data in brackets: "<s>[hello]".
std::string RenderMarked(std::string_view source, const nlohmann::ordered_json& context);

// The error of rendering as "code: message"; fails the test if there is none.
std::string RenderError(std::string_view source, const nlohmann::ordered_json& context = {});

}  // namespace foveate
