#include "attention/kv_cache.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

KvCacheOptions Small() {
  return {.kv_heads = 2,
          .key_dim = 64,
          .value_dim = 32,
          .capacity = 1000,
          .key_type = KvType::kF32,
          .value_type = KvType::kF32};
}

void Append(Context& context, KvCache& cache, std::int64_t tokens) {
  const KvCacheOptions& o = cache.options();
  const std::vector<float> numbers(tokens * o.kv_heads * std::max(o.key_dim, o.value_dim), 1.0f);
  cache.Append(context, MakeView(numbers.data(), tokens, o.kv_heads, o.key_dim),
               MakeView(numbers.data(), tokens, o.kv_heads, o.value_dim));
}

ErrorCode CodeOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kCancelled;
}

TEST(KvCacheTest, NamesOfTypes) {
  for (const KvType type : kKvTypes) EXPECT_EQ(ParseKvType(KvTypeName(type)), type);
  EXPECT_EQ(CodeOf([] { ParseKvType("q5_0"); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf([] { ParseKvType(""); }), ErrorCode::kInvalidArgument);
}

TEST(KvCacheTest, BytesAreThoseOfTheFormats) {
  KvCacheOptions options = Small();
  // 16 pages of 64 positions, 2 heads, 64 + 32 numbers.
  EXPECT_EQ(KvCache::BytesFor(options), 16 * 64 * 2 * 96 * 4);
  EXPECT_EQ(KvCache(options).bytes(), KvCache::BytesFor(options));
  options.key_type = KvType::kF16;
  EXPECT_EQ(KvCache::BytesFor(options), 16 * 64 * 2 * (64 * 2 + 32 * 4));
  options.value_type = KvType::kQ8_0;
  EXPECT_EQ(KvCache::BytesFor(options), 16 * 64 * 2 * (64 * 2 + 34));
  options.key_type = KvType::kQ4_0;
  EXPECT_EQ(KvCache::BytesFor(options), 16 * 64 * 2 * (2 * 18 + 34));
  options.value_type = KvType::kBF16;
  EXPECT_EQ(KvCache::BytesFor(options), 16 * 64 * 2 * (2 * 18 + 32 * 2));
}

TEST(KvCacheTest, RefusesBadOptions) {
  const auto code = [](auto change) {
    KvCacheOptions options = Small();
    change(options);
    return CodeOf([&] { KvCache::BytesFor(options); });
  };
  const ErrorCode bad = ErrorCode::kInvalidArgument;
  EXPECT_EQ(code([](auto& o) { o.kv_heads = 0; }), bad);
  EXPECT_EQ(code([](auto& o) { o.key_dim = 513; }), bad);
  EXPECT_EQ(code([](auto& o) { o.value_dim = 0; }), bad);
  EXPECT_EQ(code([](auto& o) { o.capacity = 0; }), bad);
  EXPECT_EQ(code([](auto& o) { o.capacity = std::numeric_limits<std::int64_t>::max(); }), bad);
  EXPECT_EQ(code([](auto& o) { o.window = -1; }), bad);
  EXPECT_EQ(code([](auto& o) { o.chunk = 0; }), bad);
  EXPECT_EQ(code([](auto& o) { o.key_type = KvType::kQ8_0, o.key_dim = 80; }), bad);
  EXPECT_EQ(code([](auto& o) { o.value_type = KvType::kQ8_0, o.value_dim = 5; }), bad);
  EXPECT_EQ(code([](auto& o) { o.value_type = KvType::kQ4_0, o.value_dim = 48; }), bad);
  EXPECT_EQ(code([](auto& o) {
              o.capacity = std::int64_t{1} << 40, o.kv_heads = 65536, o.key_dim = 512;
            }),
            ErrorCode::kLimit);
}

TEST(KvCacheTest, RingHoldsTheWindowOfEveryQueryOfAChunk) {
  Context context({.threads = 1});
  for (const std::int64_t window : {1, 5, 63, 64, 65, 512}) {
    for (const std::int64_t chunk : {1, 7, 64, 100}) {
      KvCacheOptions options = Small();
      options.capacity = 5000;
      options.window = window;
      options.chunk = chunk;
      KvCache cache(options);
      EXPECT_LE(cache.bytes(), (window + chunk + 128 + 192) * 2 * 96 * 4);  // whole pieces
      for (std::int64_t length = 0; length + chunk <= 2000; length += chunk) {
        Append(context, cache, chunk);
        ASSERT_LE(cache.first_kept(), std::max<std::int64_t>(0, length - window + 1));
      }
    }
  }
}

TEST(KvCacheTest, TruncateOfARing) {
  Context context({.threads = 1});
  KvCacheOptions options = Small();
  options.window = 100;
  options.chunk = 50;
  KvCache cache(options);
  for (int i = 0; i < 12; ++i) Append(context, cache, 50);
  ASSERT_EQ(cache.length(), 600);
  const std::int64_t oldest = cache.first_kept();
  ASSERT_GT(oldest, 0);
  EXPECT_TRUE(cache.CanTruncate(600));
  EXPECT_TRUE(cache.CanTruncate(oldest + 99));
  EXPECT_FALSE(cache.CanTruncate(oldest + 98));
  EXPECT_FALSE(cache.CanTruncate(601));
  EXPECT_FALSE(cache.CanTruncate(-1));
  EXPECT_EQ(CodeOf([&] { cache.Truncate(10); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(cache.length(), 600);

  cache.Truncate(oldest + 99);
  EXPECT_EQ(cache.length(), oldest + 99);
  EXPECT_EQ(cache.first_kept(), oldest);  // what was overwritten does not come back
  cache.Truncate(0);
  EXPECT_EQ(cache.length(), 0);
  EXPECT_EQ(cache.first_kept(), 0);
}

TEST(KvCacheTest, AppendBeyondLimitsChangesNothing) {
  Context context({.threads = 1});
  KvCacheOptions options = Small();
  options.window = 10;
  options.chunk = 600;
  KvCache cache(options);
  Append(context, cache, 600);
  EXPECT_EQ(CodeOf([&] { Append(context, cache, 401); }), ErrorCode::kLimit);
  EXPECT_EQ(cache.length(), 600);
  Append(context, cache, 400);
  EXPECT_EQ(cache.length(), 1000);

  cache.Truncate(0);
  EXPECT_EQ(CodeOf([&] { Append(context, cache, 601); }), ErrorCode::kInvalidArgument);
  const std::vector<float> numbers(1000);
  EXPECT_EQ(CodeOf([&] {
              cache.Append(context, MakeView(numbers.data(), 1, 2, 63),
                           MakeView(numbers.data(), 1, 2, 32));
            }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf([&] {
              cache.Append(context, MakeView(numbers.data(), 2, 2, 64),
                           MakeView(numbers.data(), 1, 2, 32));
            }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(cache.length(), 0);
}

std::int64_t ResidentBytes(const KvCache& cache) {
  const std::int64_t page = sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> pages(DivideUp(cache.bytes(), page));
  void* begin = const_cast<std::byte*>(cache.Keys(0, 0));
  EXPECT_EQ(mincore(begin, cache.bytes(), pages.data()), 0);
  return page * std::count_if(pages.begin(), pages.end(), [](auto flags) { return flags & 1; });
}

// A context of a million positions costs what is used of it, also where the system has huge pages.
TEST(KvCacheTest, UnusedCapacityIsNotTouched) {
  Context context({.threads = 1});
  KvCacheOptions options = Small();
  options.capacity = 1 << 20;
  KvCache cache(options);
  ASSERT_GT(cache.bytes(), std::int64_t{700} << 20);
  Append(context, cache, 100);
  EXPECT_GE(ResidentBytes(cache), 100 * 2 * 96 * 4);
  EXPECT_LT(ResidentBytes(cache), 512 << 10);
  for (int i = 0; i < 10; ++i) Append(context, cache, 1000);
  EXPECT_GE(ResidentBytes(cache), 10100 * 2 * 96 * 4);
  EXPECT_LT(ResidentBytes(cache), 16 << 20);
}

}  // namespace
}  // namespace foveate
