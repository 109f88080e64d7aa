// Keys at a bounded distance: the pattern of causal attention and of sliding windows.
#pragma once

#include "attention/pattern.h"

namespace foveate {

// Position i sees key j iff i - j <= left and j - i <= right; -1 lifts a bound. Causal attention is
// Window(-1, 0), "the last w keys" Window(w - 1, 0). Throws Error(kInvalidArgument) for less than
// -1.
PatternPtr Window(std::int64_t left, std::int64_t right);

// Every row sees every key: one pattern, shared.
const PatternPtr& FullPattern();

}  // namespace foveate
