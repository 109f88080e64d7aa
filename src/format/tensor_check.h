// Looks for numbers that no weight should be. Internal to the room.
#pragma once

#include <optional>
#include <string>

#include "format/stored_tensor.h"

namespace foveate {

// One line that names the tensor, how many rows hold NaN or infinite numbers and the first of them;
// nothing when all are finite or the type cannot say.
std::optional<std::string> FindNonFinite(const StoredTensor& tensor);

}  // namespace foveate
