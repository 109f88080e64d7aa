// A fast hash for short byte strings in tables of our own files. Not for keys an attacker chooses
// to collide: the worst that happens is a slow lookup.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace foveate {

// The two halves of the 128-bit product, folded (the mixing step of wyhash and its relatives).
inline std::uint64_t MixHash(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t HashBytes(std::string_view bytes) {
  constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15u;  // 2^64 over the golden ratio
  const auto load8 = [](const char* at) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    return word;
  };
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t hash = kMultiplier ^ left;
  for (; left > 8; at += 8, left -= 8) hash = MixHash(hash ^ load8(at), kMultiplier);
  std::uint64_t tail = 0;
  if (bytes.size() >= 8) {
    tail = load8(bytes.data() + bytes.size() - 8);  // overlaps what the loop has read
  } else if (left >= 4) {
    std::uint32_t low, high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + left - 4, 4);
    tail = std::uint64_t{high} << 32 | low;
  } else if (left > 0) {
    const auto byte = [at](std::size_t i) {
      return std::uint64_t{static_cast<unsigned char>(at[i])};
    };
    tail = byte(0) | byte(left / 2) << 8 | byte(left - 1) << 16;
  }
  return MixHash(hash ^ tail, kMultiplier);
}

}  // namespace foveate
