#include "base/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMapFrom = std::size_t{1} << 20;  // below this the heap serves

}  // namespace

std::byte* AllocateAligned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes < kMapFrom) {
    void* data = std::aligned_alloc(kAlignment, RoundUp(bytes, kAlignment));
    if (data == nullptr) Throw(ErrorCode::kLimit, "cannot allocate {} bytes of memory", bytes);
    std::memset(data, 0, bytes);
    return static_cast<std::byte*>(data);
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    Throw(ErrorCode::kLimit, "cannot allocate {} bytes of memory", bytes);
  }
  // Huge pages save most of the page faults and TLB misses of streaming through weights.
  if (bytes >= 4 * kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(data);
}

void FreeAligned(std::byte* data, std::size_t bytes) {
  if (data == nullptr) return;
  if (bytes < kMapFrom) {
    std::free(data);
  } else {
    munmap(data, bytes);
  }
}

std::byte* Arena::Take(std::int64_t bytes) {
  const std::int64_t rounded = RoundUp(bytes, static_cast<std::int64_t>(kAlignment));
  if (bytes < 0 || rounded > memory_.size() - used_) throw std::bad_alloc();
  std::byte* piece = memory_.data() + used_;
  used_ += rounded;
  return piece;
}

std::byte* Slab::New(std::int64_t bytes) {
  constexpr std::int64_t kChunk = std::int64_t{64} << 20;  // touched only as it fills
  const std::int64_t rounded = RoundUp(bytes, static_cast<std::int64_t>(kAlignment));
  if (chunks_.empty() || rounded > chunks_.back().size() - used_) {
    chunks_.emplace_back(std::max(kChunk, rounded));
    used_ = 0;
  }
  std::byte* piece = chunks_.back().data() + used_;
  used_ += rounded;
  return piece;
}

}  // namespace foveate
