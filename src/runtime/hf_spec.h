// Names of models in a Hugging Face style repository: "hf:org/repo/file.gguf".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace foveate {

struct HfSpec {
  std::string org;
  std::string repo;
  std::string file;    // may lie in folders of the repository
  std::string sha256;  // from a "#sha256=<64 hex digits>" suffix; empty: none

  // "hf:org/repo/file", without the suffix.
  std::string Name() const { return "hf:" + org + "/" + repo + "/" + file; }

  // The file, or all of its shards when it is named "<stem>-0000I-of-0000N.gguf"; first one first.
  std::vector<std::string> Files() const;
};

inline bool IsHfSpec(std::string_view spec) { return spec.starts_with("hf:"); }

// Throws Error(kInvalidArgument) naming the spec and the part that is wrong.
HfSpec ParseHfSpec(std::string_view spec);

// "<host>/<org>/<repo>/resolve/main/<file>", percent-encoded.
std::string HfUrl(const std::string& host, const HfSpec& spec, const std::string& file);

}  // namespace foveate
