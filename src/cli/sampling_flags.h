// The flags of every sampler, made from the library's own table of parameters.
#pragma once

#include <CLI/CLI.hpp>

#include "runtime/generate.h"

namespace foveate::cli {

// Adds sampler, seed, length and stop flags that write to `options`, which must outlive the verb.
void AddGenerateFlags(CLI::App& verb, GenerateOptions& options);

}  // namespace foveate::cli
