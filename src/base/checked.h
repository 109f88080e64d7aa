// Arithmetic on sizes that come from files: overflow is an answer, never a wrap.
#pragma once

#include <cstdint>
#include <optional>

namespace foveate {

inline std::optional<std::uint64_t> CheckedMul(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

inline std::optional<std::uint64_t> CheckedAdd(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <typename T>
constexpr T DivideUp(T a, T b) {
  return (a + b - 1) / b;
}

template <typename T>
constexpr T RoundUp(T a, T b) {
  return DivideUp(a, b) * b;
}

}  // namespace foveate
