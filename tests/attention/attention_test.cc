#include "attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "attention/kv_cache.h"
#include "attention/window_pattern.h"
#include "base/throw.h"
#include "kernels/attention_kernels.h"
#include "tests/attention/attention_oracle.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

using testing::Oracle;
using testing::OracleResult;
using testing::OracleShape;
using testing::RoundTrip;

// A problem, its data by seed.
struct Case {
  OracleShape shape;
  KvType key_type = KvType::kF32;
  KvType value_type = KvType::kF32;
  float spread = 1.0f;  // of the numbers in queries and keys
  unsigned seed = 1;

  std::string ToString() const {
    return fmt::format("n{} h{}/{} d{} dv{} w{} scale{} cap{} {}/{} spread{} seed{}", shape.tokens,
                       shape.heads, shape.kv_heads, shape.key_dim, shape.value_dim, shape.window,
                       shape.scale, shape.soft_cap, KvTypeName(key_type), KvTypeName(value_type),
                       spread, seed);
  }
};

struct Data {
  std::vector<float> queries, keys, values;
};

std::vector<float> Random(std::int64_t count, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = normal(random);
  return numbers;
}

Data MakeData(const Case& c) {
  std::mt19937 random(c.seed);
  Data data;
  data.queries = Random(c.shape.tokens * c.shape.heads * c.shape.key_dim, c.spread, random);
  data.keys = Random(c.shape.tokens * c.shape.kv_heads * c.shape.key_dim, c.spread, random);
  data.values = Random(c.shape.tokens * c.shape.kv_heads * c.shape.value_dim, 1.0f, random);
  return data;
}

KvCacheOptions CacheOptions(const Case& c, std::int64_t chunk) {
  return {.kv_heads = c.shape.kv_heads,
          .key_dim = c.shape.key_dim,
          .value_dim = c.shape.value_dim,
          .capacity = c.shape.tokens,
          .window = c.shape.window,
          .chunk = chunk,
          .key_type = c.key_type,
          .value_type = c.value_type};
}

// The last `window` keys, or all up to the own one.
PatternPtr CausalWindow(std::int64_t window) { return Window(window > 0 ? window - 1 : -1, 0); }

// Tokens [begin, end) of the case through the cache, which holds `begin` of them.
void Step(Context& context, const Case& c, Data& data, std::int64_t begin, std::int64_t end,
          KvCache& cache, AttentionScratch& scratch, std::vector<float>& out) {
  const OracleShape& s = c.shape;
  const std::int64_t n = end - begin;
  cache.Append(
      context,
      MakeView<const float>(&data.keys[begin * s.kv_heads * s.key_dim], n, s.kv_heads, s.key_dim),
      MakeView<const float>(&data.values[begin * s.kv_heads * s.value_dim], n, s.kv_heads,
                            s.value_dim));
  Attend(context, cache,
         MakeView<const float>(&data.queries[begin * s.heads * s.key_dim], n, s.heads, s.key_dim),
         {.pattern = CausalWindow(s.window),
          .scale = static_cast<float>(s.scale),
          .soft_cap = static_cast<float>(s.soft_cap)},
         scratch, MakeView(&out[begin * s.heads * s.value_dim], n, s.heads, s.value_dim));
}

std::vector<float> RunChunks(Context& context, const Case& c, Data& data, std::int64_t chunk) {
  KvCache cache(CacheOptions(c, chunk));
  AttentionScratch scratch;
  std::vector<float> out(c.shape.tokens * c.shape.heads * c.shape.value_dim,
                         std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t begin = 0; begin < c.shape.tokens; begin += chunk) {
    Step(context, c, data, begin, std::min(begin + chunk, c.shape.tokens), cache, scratch, out);
  }
  return out;
}

OracleResult Expected(const Case& c, Data data) {
  RoundTrip(c.key_type, c.shape.key_dim, data.keys);
  RoundTrip(c.value_type, c.shape.value_dim, data.values);
  return Oracle(c.shape, data.queries, data.keys, data.values);
}

void ExpectClose(const Case& c, const std::vector<float>& out, const OracleResult& expected) {
  const std::int64_t dim = c.shape.value_dim;
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double error = std::abs(out[i] - expected.out[i]) / expected.tolerance[i / dim];
    ASSERT_FALSE(std::isnan(error)) << c.ToString() << " at " << i;
    worst = std::max(worst, error);
  }
  EXPECT_LE(worst, 1.0) << c.ToString();
}

std::vector<Isa> DistinctIsas() { return testing::DistinctIsas(AttentionKernelsFor); }

template <typename T>
T Pick(std::mt19937& random, std::initializer_list<T> values) {
  return *(values.begin() + random() % values.size());
}

Case RandomCase(unsigned seed) {
  std::mt19937 random(seed);
  Case c;
  c.seed = seed;
  OracleShape& s = c.shape;
  s.tokens =
      Pick<std::int64_t>(random, {1, 2, 3, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300});
  s.kv_heads = Pick<std::int64_t>(random, {1, 2, 3});
  s.heads = s.kv_heads * Pick<std::int64_t>(random, {1, 2, 3, 4, 5, 7, 9});
  s.key_dim = Pick<std::int64_t>(random, {1, 5, 16, 32, 64, 80, 128});
  s.value_dim = random() % 2 != 0 ? s.key_dim : Pick<std::int64_t>(random, {1, 7, 16, 33, 64, 96});
  s.window = Pick<std::int64_t>(random, {0, 0, 1, 5, 64, 100, 512});
  s.scale = 1.0f / std::sqrt(static_cast<float>(s.key_dim));
  s.soft_cap = Pick<double>(random, {0, 0, 2, 30});
  const auto type = [&](std::int64_t dim) {
    const KvType any = kKvTypes[random() % std::size(kKvTypes)];
    return HasScales(any) && dim % 32 != 0 ? KvType::kF16 : any;
  };
  c.key_type = type(s.key_dim);
  c.value_type = type(s.value_dim);
  c.spread = Pick(random, {0.1f, 1.0f, 3.0f});
  return c;
}

// Every type of keys with every type of values, computed in blocks of rows and row by row.
TEST(AttentionTest, PairsOfTypesAgreeWithTheOracle) {
  for (const KvType key_type : kKvTypes) {
    for (const KvType value_type : kKvTypes) {
      const Case c{
          .shape = {150, 4, 2, 96, 64, 0, 0.1}, .key_type = key_type, .value_type = value_type};
      Data data = MakeData(c);
      const OracleResult expected = Expected(c, data);
      for (const Isa isa : DistinctIsas()) {
        SCOPED_TRACE(IsaName(isa));
        Context context({.threads = 2, .isa = isa});
        const std::vector<float> blocks = RunChunks(context, c, data, 150);
        ExpectClose(c, blocks, expected);
        EXPECT_EQ(RunChunks(context, c, data, 1), blocks) << c.ToString();
      }
    }
  }
}

TEST(AttentionTest, RandomShapesAgreeWithTheOracle) {
  for (unsigned seed = 1; seed <= 120; ++seed) {
    const Case c = RandomCase(seed);
    Data data = MakeData(c);
    const OracleResult expected = Expected(c, data);
    const std::int64_t chunk = 1 + seed * 37 % c.shape.tokens;
    for (const Isa isa : DistinctIsas()) {
      SCOPED_TRACE(IsaName(isa));
      Context context({.threads = 1 + static_cast<int>(seed % 3), .isa = isa});
      ExpectClose(c, RunChunks(context, c, data, chunk), expected);
    }
    if (::testing::Test::HasFailure()) return;
  }
}

// Long enough for several pieces, whole windows and, with 512 dimensions, the largest heads.
TEST(AttentionTest, LongSequencesAgreeWithTheOracle) {
  const Case cases[] = {
      {.shape = {1000, 6, 2, 64, 64, 0, 0.125},
       .key_type = KvType::kF16,
       .value_type = KvType::kF16},
      {.shape = {1000, 4, 1, 256, 256, 512, 0.0625},
       .key_type = KvType::kF16,
       .value_type = KvType::kQ8_0},
      {.shape = {700, 4, 1, 256, 128, 300, 0.0625, 50.0},
       .key_type = KvType::kQ8_0,
       .value_type = KvType::kF16},
      {.shape = {330, 2, 2, 512, 512, 0, 0.05},
       .key_type = KvType::kQ8_0,
       .value_type = KvType::kQ8_0},
      {.shape = {600, 3, 1, 16, 48, 5, 0.25}, .key_type = KvType::kF32, .value_type = KvType::kF32},
      {.shape = {520, 1, 1, 3, 500, 0, 0.25}, .key_type = KvType::kF16, .value_type = KvType::kF32},
      {.shape = {260, 130, 1, 8, 8, 0, 0.25}, .key_type = KvType::kF16, .value_type = KvType::kF16},
  };
  for (const Case& c : cases) {
    Data data = MakeData(c);
    const OracleResult expected = Expected(c, data);
    for (const Isa isa : DistinctIsas()) {
      SCOPED_TRACE(IsaName(isa));
      Context context({.threads = 2, .isa = isa});
      ExpectClose(c, RunChunks(context, c, data, 512), expected);
    }
  }
}

// Logits of +-10,000: the softmax is one-hot, and differences must not overflow.
TEST(AttentionTest, HugeLogitsStayFinite) {
  for (const float spread : {30.0f, 100.0f}) {
    for (const double cap : {0.0, 50.0}) {
      Case c{.shape = {200, 4, 2, 64, 64, 0, 1.0, cap}, .spread = spread};
      Data data = MakeData(c);
      const OracleResult expected = Expected(c, data);
      Context context({.threads = 2});
      ExpectClose(c, RunChunks(context, c, data, 64), expected);
    }
  }
}

// The same bits whatever the threads and however the prompt is cut.
TEST(AttentionTest, ThreadsAndChunksDoNotShowInTheResult) {
  const Case cases[] = {
      {.shape = {520, 9, 3, 64, 64, 0, 0.125},
       .key_type = KvType::kF16,
       .value_type = KvType::kF16},
      {.shape = {400, 4, 1, 80, 48, 200, 0.1, 30.0},
       .key_type = KvType::kF16,
       .value_type = KvType::kF32},
      {.shape = {300, 6, 1, 64, 32, 0, 0.125},
       .key_type = KvType::kQ8_0,
       .value_type = KvType::kQ8_0},
      {.shape = {300, 14, 2, 32, 64, 64, 0.2},
       .key_type = KvType::kBF16,
       .value_type = KvType::kQ4_0},
      {.shape = {300, 4, 1, 64, 32, 0, 0.125},
       .key_type = KvType::kQ4_0,
       .value_type = KvType::kF32},
  };
  for (const Case& c : cases) {
    Data data = MakeData(c);
    for (const Isa isa : DistinctIsas()) {
      Context one({.threads = 1, .isa = isa});
      const std::vector<float> expected = RunChunks(one, c, data, c.shape.tokens);
      for (const int threads : {1, 2, 3}) {
        Context context({.threads = threads, .isa = isa});
        for (const std::int64_t chunk : {std::int64_t{1}, std::int64_t{3}, std::int64_t{67},
                                         std::int64_t{256}, c.shape.tokens}) {
          ASSERT_EQ(RunChunks(context, c, data, chunk), expected)
              << c.ToString() << " " << IsaName(isa) << " threads " << threads << " chunk "
              << chunk;
        }
      }
    }
  }
}

// Positions that were forgotten, and slots never written, may hold anything.
TEST(AttentionTest, NansInUnusedSlotsDoNotLeak) {
  for (const KvType type : kKvTypes) {
    for (const std::int64_t window : {0, 40}) {
      const Case c{.shape = {200, 6, 2, 32, 64, window, 0.2}, .key_type = type, .value_type = type};
      Data data = MakeData(c);
      const OracleResult expected = Expected(c, data);
      const std::vector<float> nan(200 * 2 * 64, std::numeric_limits<float>::quiet_NaN());
      Context context({.threads = 2});
      KvCache cache(CacheOptions(c, 200));
      cache.Append(context, MakeView(nan.data(), 200, 2, 32), MakeView(nan.data(), 200, 2, 64));
      cache.Truncate(0);
      AttentionScratch scratch;
      std::vector<float> out(200 * 6 * 64);
      for (std::int64_t begin = 0, chunk = 1; begin < 200; begin += chunk, chunk = 3 * chunk % 71) {
        Step(context, c, data, begin, std::min<std::int64_t>(begin + chunk, 200), cache, scratch,
             out);
      }
      ExpectClose(c, out, expected);
    }
  }
}

// Going back and writing other tokens equals never having written the first ones.
TEST(AttentionTest, TruncateAndAppendAgain) {
  for (const std::int64_t window : {0, 100}) {
    const Case c{.shape = {500, 3, 1, 64, 64, window, 0.125},
                 .key_type = KvType::kF16,
                 .value_type = KvType::kF16};
    Case other = c;
    other.seed = 99;
    Data data = MakeData(c);
    Data wrong = MakeData(other);
    Context context({.threads = 2});
    const std::vector<float> expected = RunChunks(context, c, data, 50);
    KvCache cache(CacheOptions(c, 50));
    AttentionScratch scratch;
    std::vector<float> out(expected.size());
    for (std::int64_t begin = 0; begin < 500; begin += 25) {
      Step(context, c, data, begin, begin + 25, cache, scratch, out);
      if (begin + 75 > 500) continue;
      std::vector<float> ignored(expected.size());
      Step(context, c, wrong, begin + 25, begin + 35, cache, scratch, ignored);
      ASSERT_TRUE(cache.CanTruncate(begin + 25)) << window;
      cache.Truncate(begin + 25);
    }
    EXPECT_EQ(out, expected) << "window " << window;
  }
}

// Views with other strides: heads first, and every second number of a wider array.
TEST(AttentionTest, AnyStridesWork) {
  const Case c{.shape = {70, 4, 2, 20, 24, 0, 0.2}};
  Data data = MakeData(c);
  Context context({.threads = 2});
  const std::vector<float> expected = RunChunks(context, c, data, 70);

  const auto spread_out = [](const std::vector<float>& from, std::int64_t heads, std::int64_t dim) {
    std::vector<float> to(from.size() * 2);  // [H, T, D, 2]
    for (std::int64_t t = 0; t < 70; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t d = 0; d < dim; ++d) {
          to[((h * 70 + t) * dim + d) * 2] = from[(t * heads + h) * dim + d];
        }
      }
    }
    return to;
  };
  const auto view_of = [](auto* data, std::int64_t heads, std::int64_t dim) {
    return View<std::remove_pointer_t<decltype(data)>, 3>{
        data, {70, heads, dim}, {2 * dim, 140 * dim, 2}};
  };
  const std::vector<float> keys = spread_out(data.keys, 2, 20);
  const std::vector<float> values = spread_out(data.values, 2, 24);
  const std::vector<float> queries = spread_out(data.queries, 4, 20);
  std::vector<float> out(70 * 4 * 24 * 2);
  KvCache cache(CacheOptions(c, 70));
  cache.Append(context, view_of(keys.data(), 2, 20), view_of(values.data(), 2, 24));
  AttentionScratch scratch;
  Attend(context, cache, view_of(queries.data(), 4, 20),
         {.pattern = CausalWindow(0), .scale = 0.2f}, scratch, view_of(out.data(), 4, 24));
  EXPECT_EQ(out, spread_out(expected, 4, 24));
}

void ExpectError(ErrorCode code, const std::string& part, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(AttentionTest, RefusesWhatDoesNotFit) {
  Context context({.threads = 1});
  KvCache cache(
      {.kv_heads = 2, .key_dim = 8, .value_dim = 4, .capacity = 1000, .window = 10, .chunk = 200});
  std::vector<float> numbers(20000, 0.5f);
  const auto view = [&](std::int64_t t, std::int64_t h, std::int64_t d) {
    return MakeView(numbers.data(), t, h, d);
  };
  for (int i = 0; i < 3; ++i) cache.Append(context, view(200, 2, 8), view(200, 2, 4));
  AttentionScratch scratch;
  const auto attend = [&](View<const float, 3> q, AttentionOptions options, View<float, 3> out) {
    return [=, &context, &cache, &scratch] { Attend(context, cache, q, options, scratch, out); };
  };
  const AttentionOptions fine{.pattern = CausalWindow(10), .scale = 1.0f};
  EXPECT_NO_THROW(attend(view(3, 4, 8), fine, view(3, 4, 4))());
  EXPECT_NO_THROW(attend(view(0, 4, 8), fine, view(0, 4, 4))());
  const ErrorCode bad = ErrorCode::kInvalidArgument;
  ExpectError(bad, "queries [3, 3, 8]", attend(view(3, 3, 8), fine, view(3, 3, 4)));
  ExpectError(bad, "queries [3, 4, 9]", attend(view(3, 4, 9), fine, view(3, 4, 4)));
  ExpectError(bad, "queries [601, 2, 8]", attend(view(601, 2, 8), fine, view(601, 2, 4)));
  ExpectError(bad, "output [3, 4, 5]", attend(view(3, 4, 8), fine, view(3, 4, 5)));
  ExpectError(
      bad, "soft cap -1",
      attend(view(3, 4, 8), {.pattern = CausalWindow(10), .soft_cap = -1.0f}, view(3, 4, 4)));
  ExpectError(bad, "soft cap nan",
              attend(view(3, 4, 8), {.pattern = CausalWindow(10), .soft_cap = std::nanf("")},
                     view(3, 4, 4)));
  ExpectError(bad, "needs keys from 0", attend(view(3, 4, 8), {}, view(3, 4, 4)));
}

}  // namespace
}  // namespace foveate
