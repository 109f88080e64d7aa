#include "runtime/hf_spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/throw.h"
#include "runtime/sha256.h"

namespace foveate {
namespace {

constexpr std::string_view kShardTail = "-00000-of-00000.gguf";
constexpr int kMaxShards = 1000;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

// Names that are neither hidden nor special in a file system, nor in need of quoting in a shell.
bool IsSafePart(std::string_view part) {
  const auto allowed = [](char c) {
    return IsPlain(c) || std::string_view("+=,@").find(c) != std::string_view::npos;
  };
  return !part.empty() && part.size() <= 200 && part.front() != '.' && part.front() != '-' &&
         std::all_of(part.begin(), part.end(), allowed);
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

// Whether `file` ends like kShardTail, with any digits for the zeros.
bool IsShard(std::string_view file) {
  if (file.size() <= kShardTail.size()) return false;
  const std::string_view tail = file.substr(file.size() - kShardTail.size());
  return std::equal(tail.begin(), tail.end(), kShardTail.begin(), [](char have, char pattern) {
    return pattern == '0' ? have >= '0' && have <= '9' : have == pattern;
  });
}

}  // namespace

HfSpec ParseHfSpec(std::string_view spec) {
  const std::string_view whole = spec;
  HfSpec parsed;
  const std::size_t hash = spec.find('#');
  if (hash != std::string_view::npos) {
    constexpr std::string_view kPrefix = "#sha256=";
    const std::string_view suffix = spec.substr(hash);
    const auto digits =
        suffix.starts_with(kPrefix) ? ParseSha256(suffix.substr(kPrefix.size())) : std::nullopt;
    if (!digits) {
      Throw(ErrorCode::kInvalidArgument, "{}: expected #sha256=<64 hexadecimal digits>, got {}",
            whole, suffix);
    }
    parsed.sha256 = *digits;
    spec = spec.substr(0, hash);
  }
  const std::vector<std::string_view> parts =
      Split(spec.substr(std::min(spec.size(), spec.find(':') + 1)));
  if (parts.size() < 3 || !parts.back().ends_with(".gguf")) {
    Throw(ErrorCode::kInvalidArgument, "{}: expected hf:org/repo/file.gguf", whole);
  }
  for (const std::string_view part : parts) {
    if (!IsSafePart(part)) {
      Throw(ErrorCode::kInvalidArgument,
            "{}: \"{}\" is no part of a file's name in a repository (letters, digits, ._-+=,@~ "
            "and no dot in front)",
            whole, part);
    }
  }
  parsed.org = parts[0];
  parsed.repo = parts[1];
  parsed.file = parts[2];
  for (std::size_t i = 3; i < parts.size(); ++i) parsed.file += fmt::format("/{}", parts[i]);
  return parsed;
}

std::vector<std::string> HfSpec::Files() const {
  if (!IsShard(file)) return {file};
  const std::string stem = file.substr(0, file.size() - kShardTail.size());
  const int count = std::stoi(file.substr(file.size() - std::string_view("00000.gguf").size(), 5));
  if (count < 1 || count > kMaxShards) {
    Throw(ErrorCode::kInvalidArgument, "{}: {} shards, expected 1 to {}", Name(), count,
          kMaxShards);
  }
  std::vector<std::string> files;
  for (int shard = 1; shard <= count; ++shard) {
    files.push_back(fmt::format("{}-{:05}-of-{:05}.gguf", stem, shard, count));
  }
  return files;
}

std::string HfUrl(const std::string& host, const HfSpec& spec, const std::string& file) {
  std::string url = host;
  while (url.ends_with('/')) url.pop_back();
  for (const char c : "/" + spec.org + "/" + spec.repo + "/resolve/main/" + file) {
    if (IsPlain(c) || c == '/') {
      url += c;
    } else {
      url += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return url;
}

}  // namespace foveate
