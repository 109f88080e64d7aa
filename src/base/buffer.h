// Memory for numbers: Buffer<T> is an aligned, fixed-size array; Arena hands out pieces of one
// buffer and takes them back all at once; Slab gathers arrays that live as long as each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace foveate {

inline constexpr std::size_t kAlignment = 64;  // one cache line, one AVX-512 vector

// Zeroed, aligned memory straight from the system for large sizes (huge pages where it grants
// them); throws Error(kLimit) naming the size when there is none.
std::byte* AllocateAligned(std::size_t bytes);
void FreeAligned(std::byte* data, std::size_t bytes);

template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(std::int64_t size)
      : data_(reinterpret_cast<T*>(AllocateAligned(size * sizeof(T)))), size_(size) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { FreeAligned(reinterpret_cast<std::byte*>(data_), size_ * sizeof(T)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  std::span<T> span() { return {data_, static_cast<std::size_t>(size_)}; }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

class Arena {
 public:
  explicit Arena(std::int64_t bytes) : memory_(bytes) {}

  // `count` elements, aligned to a cache line, undefined content. The arena is sized by whoever
  // plans the work; asking for more is a programming mistake and throws std::bad_alloc.
  template <typename T>
  T* New(std::int64_t count) {
    return reinterpret_cast<T*>(Take(count * static_cast<std::int64_t>(sizeof(T))));
  }
  void Reset() { used_ = 0; }
  std::int64_t used() const { return used_; }

 private:
  std::byte* Take(std::int64_t bytes);

  Buffer<std::byte> memory_;
  std::int64_t used_ = 0;
};

// Arrays of any size side by side in huge pages. A forward pass streams through hundreds of weight
// matrices; in a mapping of its own each would cost a TLB miss for every 4 kB of it.
class Slab {
 public:
  // Zeroed and aligned to a cache line; lives as long as the slab.
  std::byte* New(std::int64_t bytes);

 private:
  std::vector<Buffer<std::byte>> chunks_;
  std::int64_t used_ = 0;  // of the last chunk
};

}  // namespace foveate
