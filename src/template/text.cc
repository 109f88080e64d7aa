#include "template/text.h"

#include <algorithm>
#include <utility>

namespace foveate::jinja {

Text::Text(std::string bytes, Origin origin) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) runs_.push_back({size(), origin});
}

bool Text::HasData() const {
  return std::any_of(runs_.begin(), runs_.end(),
                     [](const Run& run) { return run.origin == Origin::kData; });
}

std::vector<Text::Run>::const_iterator Text::RunAt(std::int64_t byte) const {
  return std::upper_bound(runs_.begin(), runs_.end(), byte,
                          [](std::int64_t at, const Run& run) { return at < run.end; });
}

Origin Text::OriginAt(std::int64_t byte) const { return RunAt(byte)->origin; }

void Text::Append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().end = size();
  } else {
    runs_.push_back({size(), origin});
  }
}

void Text::AppendPart(const Text& other, std::int64_t begin, std::int64_t end) {
  const std::string_view bytes = other.bytes_;
  for (auto run = other.RunAt(begin); begin < end; ++run) {
    const std::int64_t stop = std::min(run->end, end);
    Append(bytes.substr(begin, stop - begin), run->origin);
    begin = stop;
  }
}

Text Text::Sub(std::int64_t begin, std::int64_t end) const {
  Text part;
  part.AppendPart(*this, begin, end);
  return part;
}

std::int64_t Text::MemoryBytes() const {
  return static_cast<std::int64_t>(sizeof(Text) + bytes_.capacity() +
                                   runs_.capacity() * sizeof(Run));
}

}  // namespace foveate::jinja
