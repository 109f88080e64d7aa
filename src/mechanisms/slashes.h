// Keys at regular distances behind the row: i, i - step, i - 2 step, ...
#pragma once

#include <cstdint>

#include "attention/pattern.h"

namespace foveate {

// The row's own key and those before it, `count` in all.
PatternPtr MakeSlashes(std::int64_t step, std::int64_t count);

}  // namespace foveate
