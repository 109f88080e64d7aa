#include "attention/kv_cache.h"

#include <linux/mman.h>  // MADV_COLLAPSE
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "base/throw.h"
#include "kernels/attention_kernels.h"

namespace foveate {
namespace {

constexpr std::int64_t kMaxDim = 512;
constexpr std::int64_t kMaxHeads = 65536;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 40;

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;
constexpr std::int64_t kHugePage = std::int64_t{2} << 20;

void CheckRange(const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    Throw(ErrorCode::kInvalidArgument, "KV cache: {} is {}, expected {} to {}", name, value, low,
          high);
  }
}

void CheckType(const char* name, KvType type, std::int64_t dim) {
  if (HasScales(type) && dim % kCodeBlock != 0) {
    Throw(ErrorCode::kInvalidArgument,
          "KV cache: {} {} need a head dimension that is a multiple of {}, found {} (use f16)",
          KvTypeName(type), name, kCodeBlock, dim);
  }
}

void Check(const KvCacheOptions& options) {
  CheckRange("kv_heads", options.kv_heads, 1, kMaxHeads);
  CheckRange("key_dim", options.key_dim, 1, kMaxDim);
  CheckRange("value_dim", options.value_dim, 1, kMaxDim);
  CheckRange("capacity", options.capacity, 1, kMaxPositions);
  CheckRange("window", options.window, 0, std::numeric_limits<std::int64_t>::max());
  CheckRange("first", options.first, 0, kMaxPositions);
  CheckRange("chunk", options.chunk, 1, kMaxPositions);
  CheckType("keys", options.key_type, options.key_dim);
  CheckType("values", options.value_type, options.value_dim);
}

std::int64_t FixedPages(const KvCacheOptions& options) {
  return options.window > 0 ? DivideUp(options.first, kPageKeys) : 0;
}

// Pages in memory. A ring must hold the windows of all queries of a chunk: window + chunk - 1
// positions, which begin anywhere in a page.
std::int64_t PageCount(const KvCacheOptions& options) {
  const std::int64_t all = DivideUp(options.capacity, kPageKeys);
  if (options.window == 0 || options.window >= options.capacity) return all;
  const std::int64_t span = options.window + options.chunk - 1;
  return std::min(all, FixedPages(options) + (span + kPageKeys - 2) / kPageKeys + 1);
}

PageLayout LayoutOf(const KvCacheOptions& options) {
  return {options.key_dim, options.value_dim, options.key_type, options.value_type};
}

// A row as the kernels want it: contiguous floats, padded with zeros to whole panels.
class PaddedRow {
 public:
  const float* Of(const View<const float, 3>& view, std::int64_t token, std::int64_t head) {
    const float* from = view.data + token * view.strides[0] + head * view.strides[1];
    const std::int64_t dim = view.shape[2];
    if (view.strides[2] == 1 && dim % kPanel == 0) return from;
    for (std::int64_t i = 0; i < dim; ++i) row_[i] = from[i * view.strides[2]];
    std::fill(row_.begin() + dim, row_.begin() + RoundUp(dim, kPanel), 0.0f);
    return row_.data();
  }

 private:
  std::array<float, kMaxDim> row_;
};

}  // namespace

const char* KvTypeName(KvType type) {
  switch (type) {
    case KvType::kF32: return "f32";
    case KvType::kF16: return "f16";
    case KvType::kBF16: return "bf16";
    case KvType::kQ8_0: return "q8_0";
    case KvType::kQ4_0: return "q4_0";
  }
  return "unknown";
}

KvType ParseKvType(std::string_view name) {
  for (const KvType type : kKvTypes) {
    if (name == KvTypeName(type)) return type;
  }
  Throw(ErrorCode::kInvalidArgument,
        "unknown KV cache type '{}', expected f32, f16, bf16, q8_0 or q4_0", name);
}

KvTypes ParseKvTypes(std::string_view text) {
  const std::size_t slash = text.find('/');
  const KvType key = ParseKvType(text.substr(0, slash));
  return {key, slash == std::string_view::npos ? key : ParseKvType(text.substr(slash + 1))};
}

std::string KvTypesName(const KvTypes& types) {
  std::string name(KvTypeName(types.key));
  if (types.key != types.value) name.append("/").append(KvTypeName(types.value));
  return name;
}

std::int64_t KvCache::BytesFor(const KvCacheOptions& options) {
  Check(options);
  const auto piece = static_cast<std::uint64_t>(LayoutOf(options).piece_bytes());
  const auto heads = CheckedMul(piece, static_cast<std::uint64_t>(options.kv_heads));
  const auto pieces = static_cast<std::uint64_t>(DivideUp(PageCount(options), kPiecePages));
  const auto bytes = CheckedMul(*heads, pieces);
  if (!bytes || *bytes > kMaxBytes) {
    Throw(ErrorCode::kLimit, "KV cache: {} positions of {} heads are more than memory can address",
          options.capacity, options.kv_heads);
  }
  return static_cast<std::int64_t>(*bytes);
}

KvCache::KvCache(const KvCacheOptions& options) : options_(options), bytes_(BytesFor(options)) {
  layout_ = LayoutOf(options);
  pages_ = PageCount(options);
  fixed_pages_ = std::min(FixedPages(options), pages_ - 1);
  if (options.folder.empty()) {
    Allocate();
  } else {
    file_ = FileMemory(options.folder, bytes_);
  }
}

void KvCache::Allocate() {
  if (bytes_ < kHugePage) {
    memory_ = Buffer<std::byte>(bytes_);
    return;
  }
  // Streaming through small pages costs a third of the bandwidth in TLB misses. Sizes of whole huge
  // pages are mapped aligned; the advice changes nothing where the system grants none. Only the
  // first 2 MB wait until they are a quarter full: short chats need little of them in each layer.
  memory_ = Buffer<std::byte>(RoundUp(bytes_, kHugePage));
  madvise(memory_.data(), kHugePage, MADV_NOHUGEPAGE);
  madvise(memory_.data() + kHugePage, memory_.size() - kHugePage, MADV_HUGEPAGE);
  collapse_at_ = DivideUp(kHugePage / 4 * pages_ * kPageKeys, bytes_);
}

std::int64_t KvCache::StoredBytes() const {
  const std::int64_t pages = std::min(pages_, DivideUp(length_, kPageKeys));
  return bytes_ / pages_ * pages;
}

const std::byte* KvCache::Keys(std::int64_t page, std::int64_t kv_head) const {
  return Data() + layout_.KeyOffset(Place(page), kv_head, options_.kv_heads);
}

const std::byte* KvCache::Values(std::int64_t page, std::int64_t kv_head) const {
  return Data() + layout_.ValueOffset(Place(page), kv_head, options_.kv_heads);
}

void KvCache::FetchValue(std::int64_t position, std::int64_t kv_head) const {
  constexpr std::int64_t kCacheLine = 64;
  const std::int64_t bytes = layout_.value_row_bytes();
  const std::byte* row = Values(position / kPageKeys, kv_head) + position % kPageKeys * bytes;
  for (std::int64_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(row + i);
}

void KvCache::CopyValue(std::int64_t position, std::int64_t kv_head, std::byte* block,
                        std::int64_t row) const {
  const std::byte* from = Values(position / kPageKeys, kv_head);
  const std::int64_t column = position % kPageKeys;
  const std::int64_t bytes = layout_.value_row_bytes();
  std::memcpy(block + row * bytes, from + column * bytes, bytes);
  if (!HasScales(layout_.value_type)) return;
  const std::int64_t scales = layout_.value_width() / kCodeBlock * 2;  // bytes
  std::memcpy(block + layout_.value_scales() + row * scales,
              from + layout_.value_scales() + column * scales, scales);
}

void KvCache::Append(Context& context, View<const float, 3> keys, View<const float, 3> values) {
  const std::int64_t tokens = keys.shape[0];
  if (keys.shape[1] != options_.kv_heads || keys.shape[2] != options_.key_dim ||
      values.shape != std::array{tokens, options_.kv_heads, options_.value_dim}) {
    Throw(
        ErrorCode::kInvalidArgument,
        "KV cache: keys [{}, {}, {}] and values [{}, {}, {}] do not fit {} heads of dimensions {} "
        "and {}",
        tokens, keys.shape[1], keys.shape[2], values.shape[0], values.shape[1], values.shape[2],
        options_.kv_heads, options_.key_dim, options_.value_dim);
  }
  if (tokens > options_.capacity - length_) {
    Throw(ErrorCode::kLimit, "context full: {} + {} positions, the KV cache holds {}", length_,
          tokens, options_.capacity);
  }
  if (options_.window > 0 && tokens > options_.chunk) {
    Throw(ErrorCode::kInvalidArgument, "KV cache: {} tokens at once, its ring is made for {}",
          tokens, options_.chunk);
  }
  if (tokens <= 0) return;

  const AttentionKernels& kernels = AttentionKernelsFor(context.isa());
  const std::int64_t end = length_ + tokens;
  const std::int64_t first_page = length_ / kPageKeys;
  const std::int64_t page_count = (end - 1) / kPageKeys - first_page + 1;
  const auto store_page = [&](std::int64_t item, int) {
    const std::int64_t page = first_page + item / options_.kv_heads;
    const std::int64_t head = item % options_.kv_heads;
    std::byte* key_block = Data() + layout_.KeyOffset(Place(page), head, options_.kv_heads);
    std::byte* value_block = Data() + layout_.ValueOffset(Place(page), head, options_.kv_heads);
    PaddedRow row;
    const std::int64_t last = std::min(end, (page + 1) * kPageKeys);
    for (std::int64_t p = std::max(length_, page * kPageKeys); p < last; ++p) {
      const std::int64_t token = p - length_;
      const std::int64_t column = p % kPageKeys;
      kernels.store_key(layout_, key_block, column, row.Of(keys, token, head));
      kernels.store_value(layout_, value_block, column, row.Of(values, token, head));
    }
  };
  const std::int64_t items = page_count * options_.kv_heads;
  if (tokens < kPanel) {  // less work than waking the threads
    for (std::int64_t item = 0; item < items; ++item) store_page(item, 0);
  } else {
    context.pool().ForEach(items, store_page);
  }
  if (length_ < collapse_at_ && collapse_at_ <= end) {
    madvise(memory_.data(), kHugePage, MADV_HUGEPAGE);
    madvise(memory_.data(), kHugePage, MADV_COLLAPSE);
  }
  length_ = end;
  // The ring's oldest page; before it turns, nothing is lost.
  const std::int64_t last = (end - 1) / kPageKeys;
  if (last >= pages_) first_page_ = std::max(first_page_, last - pages_ + fixed_pages_ + 1);
}

bool KvCache::CanTruncate(std::int64_t length) const {
  if (length < 0 || length > length_) return false;
  if (length == 0 || options_.window == 0) return true;
  return std::max<std::int64_t>(0, length - options_.window + 1) >= first_kept();
}

void KvCache::Truncate(std::int64_t length) {
  if (!CanTruncate(length)) {
    Throw(ErrorCode::kInvalidArgument,
          "KV cache: cannot go back to {} positions (it has {}, the oldest kept is {})", length,
          length_, first_kept());
  }
  length_ = length;
  if (length == 0) first_page_ = 0;
}

}  // namespace foveate
