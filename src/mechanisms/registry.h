// Every mechanism of this build, found by name.
#pragma once

#include <span>
#include <string_view>

#include "mechanisms/mechanism.h"

namespace foveate {

// In the order of their names. (Defined in a file that the build writes from the names of the
// source files in the folders of this room.)
std::span<const Mechanism> Mechanisms();

// By name or synonym. Throws Error(kInvalidArgument) that lists the nearest names.
const Mechanism& FindMechanism(std::string_view name);

}  // namespace foveate
