// The strings of a GGUF array in order, as views into the file.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace foveate {

class StringArrayReader {
 public:
  explicit StringArrayReader(std::span<const std::byte> packed) : packed_(packed) {}

  // False when what is left is no whole string.
  bool Next(std::string_view& text) {
    std::uint64_t length;
    if (packed_.size() < sizeof(length)) return false;
    std::memcpy(&length, packed_.data(), sizeof(length));
    packed_ = packed_.subspan(sizeof(length));
    if (length > packed_.size()) return false;
    text = {reinterpret_cast<const char*>(packed_.data()), static_cast<std::size_t>(length)};
    packed_ = packed_.subspan(text.size());
    return true;
  }

 private:
  std::span<const std::byte> packed_;
};

}  // namespace foveate
