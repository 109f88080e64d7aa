// The models that have a short name, and the packages that carry them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace foveate {

// The model when none is named.
inline constexpr const char* kDefaultModel = "smollm2";

// One piece of a model: a member of a wheel on the Python package index.
struct ModelPart {
  std::string package;
  std::string version;
  std::string member;            // path inside the wheel
  std::int64_t wheel_bytes = 0;  // size of the wheel, for the progress bar
};

struct KnownModel {
  std::string name;
  std::string title;
  std::string file;  // file name in the store
  std::int64_t bytes = 0;
  std::string sha256;
  std::string license;
  std::string terms = {};        // a notice to show; such a model is fetched on request only
  std::vector<ModelPart> parts;  // joined in this order
};

std::vector<KnownModel> KnownModels();

}  // namespace foveate
