#include "runtime/part_record.h"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "runtime/partial_file.h"

namespace foveate {

std::string PartRecordName(const std::string& target) { return PartName(target) + ".json"; }

PartRecord ReadPartRecord(const std::string& target) {
  std::ifstream file(PartRecordName(target));
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  try {
    return {.url = json.at("url").get<std::string>(),
            .etag = json.at("etag").get<std::string>(),
            .bytes = json.at("bytes").get<std::int64_t>(),
            .sha256 = json.at("sha256").get<std::string>()};
  } catch (const nlohmann::json::exception&) {
    return {};
  }
}

void WritePartRecord(const std::string& target, const PartRecord& record) {
  const nlohmann::json json = {{"url", record.url},
                               {"etag", record.etag},
                               {"bytes", record.bytes},
                               {"sha256", record.sha256}};
  const std::string path = PartRecordName(target);
  std::ofstream file(path, std::ios::trunc);
  file << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  if (!file.flush()) Throw(ErrorCode::kIo, "cannot write {}", path);
}

void RemovePartRecord(const std::string& target) { std::remove(PartRecordName(target).c_str()); }

}  // namespace foveate
