// Template source to its tree.
#pragma once

#include <string_view>

#include "template/ast.h"

namespace foveate::jinja {

inline constexpr int kMaxNesting = 64;  // blocks and brackets inside each other

// Throws Error: kBadRequest with the line for what is no template of the supported subset, kLimit
// for one that nests too deep.
Template ParseTemplate(std::string_view source);

}  // namespace foveate::jinja
