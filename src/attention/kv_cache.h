// The keys and values that one layer remembers.
//
// Memory is reserved for the whole capacity but touched only as positions are appended, so that a
// long context costs what is used of it. A layer with a sliding window keeps a ring of pages:
// enough for every query of the largest chunk to see its whole window.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "base/context.h"
#include "base/file_memory.h"
#include "base/tensor.h"
#include "kernels/attention_page.h"

namespace foveate {

inline constexpr KvType kKvTypes[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kQ8_0,
                                      KvType::kQ4_0};
const char* KvTypeName(KvType type);  // "f32", "f16", "bf16", "q8_0", "q4_0"

// The type of that name; throws Error(kInvalidArgument) that lists the known ones.
KvType ParseKvType(std::string_view name);

// What a cache keeps its keys and its values in.
struct KvTypes {
  KvType key = KvType::kF16;
  KvType value = KvType::kF16;
};
KvTypes ParseKvTypes(std::string_view text);  // "f16" for both or "q8_0/f16"; throws likewise
std::string KvTypesName(const KvTypes& types);

struct KvCacheOptions {
  std::int64_t kv_heads = 0;
  std::int64_t key_dim = 0;    // D, 1 to 512
  std::int64_t value_dim = 0;  // Dv, 1 to 512
  std::int64_t capacity = 0;   // positions the session may reach
  std::int64_t window = 0;     // positions a query sees, its own included; 0: all
  std::int64_t first = 0;      // with a window: first positions that are kept besides it
  std::int64_t chunk = 512;    // most positions appended at once (matters with a window only)
  KvType key_type = KvType::kF16;
  KvType value_type = KvType::kF16;
  std::string folder = {};  // keep it in a file there (see FileMemory); empty: in memory
};

class KvCache {
 public:
  // Throws Error: kInvalidArgument for options out of range (q8_0 and q4_0 need dimensions
  // that are multiples of 32), kLimit for a size that cannot be had, kIo for a folder that has no
  // place.
  explicit KvCache(const KvCacheOptions& options);

  // Memory that a cache with these options reserves, computed without allocating; the same errors.
  static std::int64_t BytesFor(const KvCacheOptions& options);

  const KvCacheOptions& options() const { return options_; }
  std::int64_t bytes() const { return bytes_; }
  std::int64_t length() const { return length_; }

  // The oldest position of the window still held: 0 without one, else at most length() - window.
  std::int64_t first_kept() const { return first_page_ * kPageKeys; }

  // Whether every position of pages [begin, end) that was stored is still held.
  bool Holds(std::int64_t begin, std::int64_t end) const {
    return begin >= first_page_ || std::min(end, first_page_) <= fixed_pages_;
  }

  // Stores keys [T, Hkv, D] and values [T, Hkv, Dv] at positions length() .. length() + T - 1.
  // Throws Error: kInvalidArgument for other shapes or, with a window, T > chunk; kLimit beyond
  // the capacity. A failed call changes nothing.
  void Append(Context& context, View<const float, 3> keys, View<const float, 3> values);

  // Forgets positions >= length. A ring can go back only as far as a query at `length` still finds
  // its whole window; forgetting everything always works. Truncate throws Error(kInvalidArgument)
  // where CanTruncate says no.
  bool CanTruncate(std::int64_t length) const;
  void Truncate(std::int64_t length);

  // Of a cache in a file: it is read soon, or not before all others. In memory they do nothing.
  void WillNeed() const { file_.WillNeed(StoredBytes()); }
  void NotSoon() const { file_.NotSoon(StoredBytes()); }

  // For the attention operator: the blocks of one KV head in page position / 64.
  const PageLayout& layout() const { return layout_; }
  const std::byte* Keys(std::int64_t page, std::int64_t kv_head) const;
  const std::byte* Values(std::int64_t page, std::int64_t kv_head) const;

  // The value of a position becomes row `row` of a block of values, which lie as in the cache.
  void CopyValue(std::int64_t position, std::int64_t kv_head, std::byte* block,
                 std::int64_t row) const;
  void FetchValue(std::int64_t position, std::int64_t kv_head) const;  // it is copied soon

 private:
  KvCacheOptions options_;
  std::int64_t bytes_ = 0;
  PageLayout layout_;
  std::int64_t Place(std::int64_t page) const {
    return page < pages_ ? page : fixed_pages_ + (page - fixed_pages_) % (pages_ - fixed_pages_);
  }

  std::byte* Data() { return file_.data() != nullptr ? file_.data() : memory_.data(); }
  const std::byte* Data() const { return const_cast<KvCache*>(this)->Data(); }
  void Allocate();
  std::int64_t StoredBytes() const;

  std::int64_t fixed_pages_ = 0;  // the first ones, never overwritten
  std::int64_t pages_ = 0;        // those and the ring
  Buffer<std::byte> memory_;
  FileMemory file_;               // in its place
  std::int64_t collapse_at_ = 0;  // positions from which the first 2 MB become a huge page
  std::int64_t length_ = 0;
  std::int64_t first_page_ = 0;  // oldest page not overwritten
};

}  // namespace foveate
