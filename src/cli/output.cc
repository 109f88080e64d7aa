#include "cli/output.h"

#include <fmt/format.h>

#include <fstream>

#include "base/throw.h"

namespace foveate::cli {

void PrintJson(const nlohmann::ordered_json& value) {
  fmt::print("{}\n", value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void WriteFile(const std::string& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) Throw(ErrorCode::kIo, "cannot write {}", path);
}

std::string Quoted(std::string_view text) {
  return nlohmann::ordered_json(std::string(text))
      .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace foveate::cli
