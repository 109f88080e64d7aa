#include "format/printable.h"

#include <fmt/format.h>

#include <iterator>

namespace foveate {

std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kPrintableBytes)) {
    if (c >= 0x20 && c <= 0x7e) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > kPrintableBytes) out += "...";
  return out;
}

}  // namespace foveate
