// Python's two ways to put values into a string.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "template/builtins.h"
#include "template/value.h"

namespace foveate::jinja {

// format % values: %s %r %d %i %f %x and %%, with a precision for %f.
Value FormatPercent(Runtime& runtime, const Text& format, const std::vector<Value>& values);

// format.format(...): {}, {0} and {name}, and doubled braces.
Value FormatBraces(Runtime& runtime, const Text& format, const Args& args);

}  // namespace foveate::jinja
