#include "mechanisms/registry.h"

#include <algorithm>
#include <vector>

#include "base/throw.h"
#include "format/printable.h"
#include "mechanisms/nearest.h"

namespace foveate {

const Mechanism& FindMechanism(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Mechanism& mechanism : Mechanisms()) {
    const auto& synonyms = mechanism.synonyms;
    if (mechanism.name == name ||
        std::find(synonyms.begin(), synonyms.end(), name) != synonyms.end()) {
      return mechanism;
    }
    names.push_back(mechanism.name);
    names.insert(names.end(), synonyms.begin(), synonyms.end());
  }
  Throw(ErrorCode::kInvalidArgument,
        "unknown mechanism '{}'; the nearest are {} (foveate mechanisms lists all)",
        Printable(name), NearestNames(name, names));
}

}  // namespace foveate
