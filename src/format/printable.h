// Names from files inside messages: control characters and other bytes outside printable ASCII are
// escaped and long names cut, so that a hostile name can neither drive a terminal nor flood a log.
#pragma once

#include <string>
#include <string_view>

namespace foveate {

// At most `kPrintableBytes` bytes of `text`, each one outside 0x20..0x7e as \xNN; "..." if cut.
inline constexpr std::size_t kPrintableBytes = 80;
std::string Printable(std::string_view text);

}  // namespace foveate
