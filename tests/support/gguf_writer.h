// Writes small GGUF files for tests: any metadata, any tensor, whole or in shards.
//
//   GgufWriter writer;
//   writer.Add("general.architecture", "llama");
//   writer.Add("llama.block_count", std::uint32_t{2});
//   writer.AddTensorF32("token_embd.weight", {96, 64}, values, TensorType::kQ8_0);
//   std::vector<std::byte> image = writer.Bytes();  // for GgufFile::Parse; or writer.Write(path)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "format/gguf.h"
#include "format/tensor_type.h"

namespace foveate {

// The GGUF type of a C++ type: std::uint8_t is u8, ..., double is f64; bool and std::string.
template <typename T>
inline constexpr GgufType kGgufTypeOf = GgufType::kString;
template <>
inline constexpr GgufType kGgufTypeOf<std::uint8_t> = GgufType::kU8;
template <>
inline constexpr GgufType kGgufTypeOf<std::int8_t> = GgufType::kI8;
template <>
inline constexpr GgufType kGgufTypeOf<std::uint16_t> = GgufType::kU16;
template <>
inline constexpr GgufType kGgufTypeOf<std::int16_t> = GgufType::kI16;
template <>
inline constexpr GgufType kGgufTypeOf<std::uint32_t> = GgufType::kU32;
template <>
inline constexpr GgufType kGgufTypeOf<std::int32_t> = GgufType::kI32;
template <>
inline constexpr GgufType kGgufTypeOf<float> = GgufType::kF32;
template <>
inline constexpr GgufType kGgufTypeOf<bool> = GgufType::kBool;
template <>
inline constexpr GgufType kGgufTypeOf<std::uint64_t> = GgufType::kU64;
template <>
inline constexpr GgufType kGgufTypeOf<std::int64_t> = GgufType::kI64;
template <>
inline constexpr GgufType kGgufTypeOf<double> = GgufType::kF64;

class GgufWriter {
 public:
  // A pair. Nothing is checked: a key may be added twice to make a bad file.
  template <typename T>
    requires std::is_arithmetic_v<T>
  void Add(std::string key, T value) {
    AddPair(std::move(key), kGgufTypeOf<T>, Packed(value));
  }
  void Add(std::string key, std::string_view value) {
    AddPair(std::move(key), GgufType::kString, Packed(value));
  }

  // An array of any scalar type, bool or std::string.
  template <typename T>
  void Add(std::string key, const std::vector<T>& values) {
    std::vector<std::byte> payload = Packed(static_cast<std::uint32_t>(kGgufTypeOf<T>));
    Append(payload, Packed(std::uint64_t{values.size()}));
    for (const auto& value : values) Append(payload, Packed<T>(value));
    AddPair(std::move(key), GgufType::kArray, payload);
  }

  // `shape` outermost extent first; `bytes` as they shall stand in the file, of any length.
  void AddTensor(std::string name, std::vector<std::int64_t> shape, TensorType type,
                 std::vector<std::byte> bytes);

  // Rounds `values` (row-major) to `stored`, a type that QuantizeRow knows; the last extent is a
  // multiple of its block.
  void AddTensorF32(std::string name, std::vector<std::int64_t> shape,
                    std::span<const float> values, TensorType stored = TensorType::kF32);

  // Takes out every pair with this key and every tensor of this name.
  void Remove(std::string_view name);

  // Pads tensors to this power of two and writes general.alignment; 32, unwritten, otherwise.
  void SetAlignment(std::uint32_t alignment);

  std::vector<std::byte> Bytes() const;
  void Write(const std::string& path) const;

  // Writes "<stem>-00001-of-0000N.gguf", ...: the metadata in the first, the tensors spread evenly
  // in order. Returns the paths.
  std::vector<std::string> WriteShards(const std::string& stem, int shards) const;

 private:
  struct Pair {
    std::string key;
    GgufType type;
    std::vector<std::byte> payload;  // as in the file
  };
  struct Tensor {
    std::string name;
    std::vector<std::int64_t> shape;
    TensorType type;
    std::vector<std::byte> bytes;
  };

  // Little-endian, as every machine is that the tests run on; strings behind their length.
  template <typename T>
  static std::vector<std::byte> Packed(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&value);
      return {bytes, bytes + sizeof(T)};
    } else {
      std::vector<std::byte> out = Packed(std::uint64_t{value.size()});
      const auto* bytes = reinterpret_cast<const std::byte*>(value.data());
      out.insert(out.end(), bytes, bytes + value.size());
      return out;
    }
  }
  static void Append(std::vector<std::byte>& out, const std::vector<std::byte>& more) {
    out.insert(out.end(), more.begin(), more.end());
  }

  void AddPair(std::string key, GgufType type, std::vector<std::byte> payload) {
    pairs_.push_back({std::move(key), type, std::move(payload)});
  }
  std::vector<std::byte> Image(std::span<const Pair> pairs, std::span<const Tensor> tensors) const;

  std::uint32_t alignment_ = 32;
  std::vector<Pair> pairs_;
  std::vector<Tensor> tensors_;
};

}  // namespace foveate
