// The known names most like one that is not known, for error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace foveate {

// At most three of the names, nearest by edit distance first: "window, sink_window".
std::string NearestNames(std::string_view name, const std::vector<std::string_view>& names);

}  // namespace foveate
