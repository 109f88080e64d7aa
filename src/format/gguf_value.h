// Conversion of metadata values to C++ types. Internal to the room.
#pragma once

#include <concepts>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/throw.h"
#include "format/gguf_parser.h"
#include "format/printable.h"

namespace foveate {

template <typename T>
T LoadAt(const GgufValue& value, std::uint64_t index) {
  T loaded;
  std::memcpy(&loaded, value.bytes.data() + index * sizeof(T), sizeof(T));
  return loaded;
}

inline bool IsInteger(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kU16:
    case GgufType::kI16:
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kU64:
    case GgufType::kI64: return true;
    default: return false;
  }
}

inline bool IsFloat(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

template <typename To, typename From>
std::optional<To> Narrow(From value) {
  if (!std::in_range<To>(value)) return std::nullopt;
  return static_cast<To>(value);
}

template <typename T>
std::optional<T> IntegerAt(const GgufValue& value, std::uint64_t index) {
  switch (value.element_type) {
    case GgufType::kU8: return Narrow<T>(LoadAt<std::uint8_t>(value, index));
    case GgufType::kI8: return Narrow<T>(LoadAt<std::int8_t>(value, index));
    case GgufType::kU16: return Narrow<T>(LoadAt<std::uint16_t>(value, index));
    case GgufType::kI16: return Narrow<T>(LoadAt<std::int16_t>(value, index));
    case GgufType::kU32: return Narrow<T>(LoadAt<std::uint32_t>(value, index));
    case GgufType::kI32: return Narrow<T>(LoadAt<std::int32_t>(value, index));
    case GgufType::kU64: return Narrow<T>(LoadAt<std::uint64_t>(value, index));
    default: return Narrow<T>(LoadAt<std::int64_t>(value, index));
  }
}

// What a value must be for a T to be read from it.
template <typename T>
struct Kind {  // integers
  static constexpr const char* kName = "an integer";
  static bool Holds(GgufType type) { return IsInteger(type); }
};
template <>
struct Kind<bool> {
  static constexpr const char* kName = "a bool";
  static bool Holds(GgufType type) { return type == GgufType::kBool; }
};
template <std::floating_point T>
struct Kind<T> {
  static constexpr const char* kName = "a float";
  static bool Holds(GgufType type) { return IsFloat(type); }
};
template <>
struct Kind<std::string_view> {
  static constexpr const char* kName = "a string";
  static bool Holds(GgufType type) { return type == GgufType::kString; }
};

// Element `index` of a value whose kind is T's; nothing when an integer does not fit. Not for
// strings.
template <typename T>
std::optional<T> NumberAt(const GgufValue& value, std::uint64_t index) {
  if constexpr (std::same_as<T, bool>) {
    return LoadAt<std::uint8_t>(value, index) != 0;
  } else if constexpr (std::floating_point<T>) {
    return value.element_type == GgufType::kF32 ? static_cast<T>(LoadAt<float>(value, index))
                                                : static_cast<T>(LoadAt<double>(value, index));
  } else {
    return IntegerAt<T>(value, index);
  }
}

inline std::string Describe(const GgufValue& value) {
  const char* element = GgufTypeName(value.element_type);
  return value.type == GgufType::kArray ? fmt::format("an array of {}", element) : element;
}

template <typename T>
T NumberOrThrow(const std::string& path, std::string_view key, const GgufValue& value,
                std::uint64_t index) {
  const std::optional<T> number = NumberAt<T>(value, index);
  if (!number) {
    Throw(ErrorCode::kCorruptFile, "{}: metadata '{}': element {} of {} is outside {} .. {}", path,
          Printable(key), index, Describe(value), std::numeric_limits<T>::min(),
          std::numeric_limits<T>::max());
  }
  return *number;
}

}  // namespace foveate
