// Text with provenance: UTF-8 in which every byte knows whether the template or the data wrote it.
//
//   Text turn("<|im_start|>", Origin::kTemplate);
//   turn.Append("hello", Origin::kData);
//   turn.Sub(10, 14)  // "|>he": the first two bytes from the template, the others from the data
//
// All string operations of the template engine are built from Append and Sub, so a character keeps
// its origin whatever a template does with it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foveate::jinja {

enum class Origin : std::uint8_t { kTemplate, kData };

class Text {
 public:
  // The bytes from the previous run's end (or 0) up to `end` have one origin.
  struct Run {
    std::int64_t end = 0;
    Origin origin = Origin::kTemplate;
  };

  Text() = default;
  Text(std::string bytes, Origin origin);

  const std::string& bytes() const { return bytes_; }
  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }
  bool empty() const { return bytes_.empty(); }
  // Neighbouring runs differ in origin; none is empty.
  const std::vector<Run>& runs() const { return runs_; }
  // Whether any byte came from the data.
  bool HasData() const;
  Origin OriginAt(std::int64_t byte) const;

  void Append(std::string_view bytes, Origin origin);
  void Append(const Text& other) { AppendPart(other, 0, other.size()); }
  // Appends the bytes [begin, end) of `other`, which is not *this.
  void AppendPart(const Text& other, std::int64_t begin, std::int64_t end);
  Text Sub(std::int64_t begin, std::int64_t end) const;

  // What it holds in memory, for limits.
  std::int64_t MemoryBytes() const;

 private:
  std::vector<Run>::const_iterator RunAt(std::int64_t byte) const;

  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace foveate::jinja
