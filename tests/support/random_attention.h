// Random calls of the attention operator: awkward sizes, any pattern, any score operation, any type
// and order of elements.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "attention/attention.h"
#include "attention/window_pattern.h"
#include "tests/support/attention_problem.h"

namespace foveate::testing {

template <typename T>
T Pick(std::mt19937& random, std::initializer_list<T> values) {
  return *(values.begin() + random() % values.size());
}

// `most` bounds the multiplications of the float64 oracle.
inline AttentionSizes RandomSizes(std::mt19937& random, std::int64_t most = 4'000'000) {
  const auto extent = [&] {
    return Pick<std::int64_t>(
        random, {1, 2, 3, 5, 7, 13, 31, 61, 63, 64, 65, 97, 127, 128, 129, 191, 193, 256, 257});
  };
  const auto dimension = [&] {
    return Pick<std::int64_t>(random, {1,  2,  3,  5,  7,   8,   15,  16,  17,  24,  31,  32, 33,
                                       48, 64, 80, 97, 128, 129, 255, 256, 257, 509, 511, 512});
  };
  AttentionSizes s;
  do {
    s.batches = Pick<std::int64_t>(random, {1, 1, 2, 3});
    std::tie(s.heads, s.kv_heads) = Pick<std::pair<std::int64_t, std::int64_t>>(
        random, {{1, 1}, {6, 1}, {9, 3}, {14, 2}, {4, 4}, {12, 4}});
    s.rows = extent();
    s.keys = random() % 20 == 0 ? 0 : extent();
    s.key_dim = dimension();
    s.value_dim = random() % 2 == 0 ? s.key_dim : dimension();
  } while (s.batches * s.heads * s.rows * s.keys * (s.key_dim + s.value_dim) > most);
  return s;
}

// Whatever a caller might think of: nothing is known of a band but its elements.
inline PatternPtr Speckled(std::int64_t step, std::int64_t some) {
  return MakePredicate(
      [=](std::int64_t position, std::int64_t key) {
        return ((position * 7 + key * 3) % step + step) % step < some;
      },
      [](Range, std::int64_t keys) { return Coverage{{}, {{0, keys}}}; });
}

inline PatternPtr RandomPattern(std::mt19937& random, int depth = 0) {
  const auto window = [&] {
    return Window(Pick<std::int64_t>(random, {-1, 0, 1, 5, 63, 64, 100}),
                  Pick<std::int64_t>(random, {-1, 0, 0, 0, 2, 70}));
  };
  switch (random() % (depth < 2 ? 7 : 4)) {
    case 0: return nullptr;
    case 1: return Window(-1, 0);
    case 2: return window();
    case 3: return Speckled(5, 1 + static_cast<std::int64_t>(random() % 4));
    case 4: return Speckled(200, 3);  // whole tiles without a key
    default: break;
  }
  PatternPtr a = RandomPattern(random, depth + 1), b = RandomPattern(random, depth + 1);
  if (a == nullptr || b == nullptr) return window();
  return random() % 2 == 0 ? And(a, b) : Or(a, b);
}

inline void RandomBias(AttentionProblem& problem, std::mt19937& random) {
  const AttentionSizes& s = problem.sizes;
  std::array<std::int64_t, 4> shape{s.batches, s.heads, s.rows, s.keys};
  std::int64_t count = 1;
  for (std::int64_t& extent : shape) {
    if (random() % 2 == 0) extent = 1;
    count *= extent;
  }
  const float hidden = Pick(random, {-std::numeric_limits<float>::infinity(), -1e38f, -1e30f});
  const bool mask = random() % 3 == 0;
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> bias(count);
  for (float& value : bias) value = random() % 4 == 0 ? hidden : mask ? 0.0f : normal(random);
  problem.SetBias(shape, std::move(bias));
}

inline void RandomOptions(AttentionProblem& problem, std::mt19937& random) {
  AttentionOptions& options = problem.options;
  const std::int64_t heads = problem.sizes.heads;
  options.pattern = RandomPattern(random);
  if (random() % 4 == 0) {
    const PatternPtr pool[] = {RandomPattern(random), RandomPattern(random), RandomPattern(random)};
    for (std::int64_t h = 0; h < heads; ++h) options.head_patterns.push_back(pool[random() % 3]);
  }
  if (random() % 3 == 0) options.scale = Pick(random, {0.3f, -0.5f, 0.0f, 1.0f});
  options.soft_cap = Pick(random, {0.0f, 0.0f, 2.0f, 30.0f});
  std::normal_distribution<float> normal(0, 2);
  for (std::int64_t h = 0; h < heads && problem.sizes.keys % 3 == 0; ++h) {
    options.alibi_slopes.push_back(std::exp2(-8.0f * static_cast<float>(h + 1) / heads));
  }
  if (random() % 3 == 0) RandomBias(problem, random);
  for (std::int64_t h = 0; h < heads && problem.sizes.rows % 3 == 0; ++h) {
    options.sinks.push_back(random() % 8 == 0 ? -std::numeric_limits<float>::infinity()
                                              : normal(random));
  }
}

inline ElementType RandomType(std::mt19937& random) {
  return Pick(random,
              {ElementType::kF32, ElementType::kF32, ElementType::kF16, ElementType::kBF16});
}

inline Order RandomOrder(std::mt19937& random) {
  return Pick(random,
              {Order::kDense, Order::kDense, Order::kRowsFirst, Order::kTransposed, Order::kGaps});
}

// `type`: of all tensors; none: any of each.
inline std::unique_ptr<AttentionProblem> RandomProblem(std::mt19937& random,
                                                       std::int64_t most = 4'000'000,
                                                       std::optional<ElementType> type = {}) {
  auto problem = std::make_unique<AttentionProblem>(RandomSizes(random, most), random);
  const float spread = Pick(random, {0.1f, 1.0f, 1.0f, 3.0f});
  for (HeldTensor* tensor : {&problem->query, &problem->key, &problem->value}) {
    Order order = random() % 16 == 0 ? Order::kOneHead : RandomOrder(random);
    // Not of queries and keys at once: a sum of equal products rounds the same way every time.
    if (tensor != &problem->key && random() % 16 == 0) order = Order::kOneNumber;
    *tensor = HeldTensor(tensor->shape(), type ? *type : RandomType(random), order);
    tensor->Randomise(random, 0, tensor == &problem->value ? 1 : spread);
  }
  RandomOptions(*problem, random);
  return problem;
}

inline std::string Text(const AttentionSizes& s) {
  return fmt::format("B{} H{}/{} N{} M{} D{} Dv{}", s.batches, s.heads, s.kv_heads, s.rows, s.keys,
                     s.key_dim, s.value_dim);
}

}  // namespace foveate::testing
