// A tensor of four axes in memory of its own, in one of many orders, read and written one element
// at a time.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "base/half.h"
#include "base/tensor_ref.h"

namespace foveate::testing {

// How [B, H, N, D] lies in memory.
enum class Order {
  kDense,       // as it is
  kRowsFirst,   // [B, N, H, D], what a projection leaves
  kTransposed,  // [B, H, D, N]
  kGaps,        // every third number of rows that are longer
  kOneHead,     // all heads are the same memory: a stride of 0
  kOneNumber,   // all numbers of a row are
};

class HeldTensor {
 public:
  HeldTensor() = default;
  HeldTensor(const std::array<std::int64_t, 4>& shape, ElementType type, Order order)
      : shape_(shape), type_(type) {
    const auto [b, h, n, d] = shape;
    switch (order) {
      case Order::kDense: strides_ = {h * n * d, n * d, d, 1}; break;
      case Order::kRowsFirst: strides_ = {n * h * d, d, h * d, 1}; break;
      case Order::kTransposed: strides_ = {h * d * n, d * n, 1, n}; break;
      case Order::kGaps: strides_ = {h * n * (3 * d + 5), n * (3 * d + 5), 3 * d + 5, 3}; break;
      case Order::kOneHead: strides_ = {n * d, 0, d, 1}; break;
      case Order::kOneNumber: strides_ = {h * n, n, 1, 0}; break;
    }
    // A tensor of the callers may begin anywhere that its elements may.
    memory_.assign((std::max<std::int64_t>(b * strides_[0], 1) + 1) * ElementBytes(type), kUnused);
  }

  const std::array<std::int64_t, 4>& shape() const { return shape_; }
  ElementType type() const { return type_; }

  double Get(std::int64_t b, std::int64_t h, std::int64_t n, std::int64_t d) const {
    const std::byte* from = ref().At(b, h, n, d);
    switch (type_) {
      case ElementType::kF32: return Read<float>(from);
      case ElementType::kF16: return ToFloat(Read<Half>(from));
      case ElementType::kBF16: return ToFloat(Read<BFloat16>(from));
    }
    return 0;
  }

  void Set(std::int64_t b, std::int64_t h, std::int64_t n, std::int64_t d, float value) {
    std::byte* to = mutable_ref().At(b, h, n, d);
    switch (type_) {
      case ElementType::kF32: return Write(to, value);
      case ElementType::kF16: return Write(to, ToHalf(value));
      case ElementType::kBF16: return Write(to, ToBFloat16(value));
    }
  }

  // Calls visit(b, h, n, d) for every element.
  template <typename Visit>
  void ForEach(const Visit& visit) const {
    for (std::int64_t b = 0; b < shape_[0]; ++b) {
      for (std::int64_t h = 0; h < shape_[1]; ++h) {
        for (std::int64_t n = 0; n < shape_[2]; ++n) {
          for (std::int64_t d = 0; d < shape_[3]; ++d) visit(b, h, n, d);
        }
      }
    }
  }

  void Randomise(std::mt19937& random, float mean, float spread) {
    std::normal_distribution<float> normal(mean, spread);
    ForEach([&](auto... at) { Set(at..., normal(random)); });
  }
  void Fill(float value) {
    ForEach([&](auto... at) { Set(at..., value); });
  }

  // The numbers, row-major.
  std::vector<double> Values() const {
    std::vector<double> values;
    ForEach([&](auto... at) { values.push_back(Get(at...)); });
    return values;
  }

  // Nothing was written between the elements or behind them.
  void ExpectGapsUnused() const {
    std::vector<bool> used(memory_.size());
    ForEach([&](auto... at) {
      const std::int64_t first = ref().At(at...) - memory_.data();
      for (std::int64_t i = 0; i < ElementBytes(type_); ++i) used[first + i] = true;
    });
    for (std::size_t i = 0; i < used.size(); ++i) {
      ASSERT_TRUE(used[i] || memory_[i] == kUnused) << "byte " << i << " was written";
    }
  }
  void ExpectUnused() const {
    for (const std::byte byte : memory_) ASSERT_EQ(byte, kUnused);
  }

  bool operator==(const HeldTensor& other) const { return memory_ == other.memory_; }

  TensorRef<4> ref() const { return {memory_.data() + First(), type_, shape_, strides_}; }
  MutableTensorRef<4> mutable_ref() { return {memory_.data() + First(), type_, shape_, strides_}; }

 private:
  static constexpr std::byte kUnused{0x5a};

  // One element off, so that nothing is aligned to a vector.
  std::int64_t First() const { return ElementBytes(type_); }

  template <typename T>
  static T Read(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
  }
  template <typename T>
  static void Write(std::byte* to, T value) {
    std::memcpy(to, &value, sizeof(T));
  }

  std::array<std::int64_t, 4> shape_{};
  std::array<std::int64_t, 4> strides_{};
  ElementType type_ = ElementType::kF32;
  std::vector<std::byte> memory_;
};

}  // namespace foveate::testing
