// What is remembered beside a partial download, so that it goes on only with the same file.
#pragma once

#include <cstdint>
#include <string>

namespace foveate {

struct PartRecord {
  std::string url;
  std::string etag;         // as the server sent it, quotes included; empty: none
  std::int64_t bytes = -1;  // of the whole file; -1: not known
  std::string sha256;       // as the server stated it; empty: not stated

  // Whether the server can be asked for the rest "if the file is still this one".
  bool HasStrongEtag() const { return etag.size() > 2 && etag.front() == '"'; }

  // Whether `have` bytes of `wanted_url` may be continued.
  bool Continues(const std::string& wanted_url, std::int64_t have) const {
    return url == wanted_url && have <= bytes;
  }
};

// "<target>.part.json".
std::string PartRecordName(const std::string& target);

// An absent or damaged record reads as an empty one: the download then starts afresh.
PartRecord ReadPartRecord(const std::string& target);
// Throws Error(kIo) naming the path.
void WritePartRecord(const std::string& target, const PartRecord& record);
void RemovePartRecord(const std::string& target);

}  // namespace foveate
