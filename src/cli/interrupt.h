// Ctrl-C: the first one raises a flag that long work looks at; the second ends the program.
#pragma once

#include <atomic>

namespace foveate::cli {

// Installs the handler. Call once, before threads start.
void CatchInterrupts();

// Raised by Ctrl-C until somebody lowers it again.
std::atomic<bool>& Interrupted();

// Throws Error(kCancelled) when the flag is raised.
void ThrowIfInterrupted();

}  // namespace foveate::cli
