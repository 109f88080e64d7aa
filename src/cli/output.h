// What verbs print: JSON for programs, text that is safe on a terminal for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace foveate::cli {

// One line of JSON on standard output; bytes that are not UTF-8 become U+FFFD.
void PrintJson(const nlohmann::ordered_json& value);

// Writes a file of text or any bytes. Throws Error(kIo) naming it.
void WriteFile(const std::string& path, std::string_view content);

// `text` in double quotes with control characters escaped.
std::string Quoted(std::string_view text);

}  // namespace foveate::cli
