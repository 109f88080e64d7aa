#include "attention/attention_call.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "attention/window_pattern.h"
#include "base/tensor_ref.h"

namespace foveate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

const PatternPtr& PatternOf(const AttentionOptions& options, std::int64_t head) {
  const PatternPtr& pattern =
      options.head_patterns.empty() ? options.pattern : options.head_patterns[head];
  return pattern != nullptr ? pattern : FullPattern();
}

std::shared_ptr<const TokenOrder> OrderOf(const AttentionOptions& options,
                                          const AttentionShape& shape, std::int64_t heads,
                                          AttentionScratch& scratch) {
  const PatternPtr& pattern = PatternOf(options, 0);
  if (options.bias.data != nullptr || !options.alibi_slopes.empty()) return nullptr;
  for (std::int64_t head = 1; head < heads; ++head) {
    if (PatternOf(options, head) != pattern) return nullptr;
  }
  return scratch.OrderFor(pattern, shape);
}

void CheckInputs(const AttentionInputs& in) {
  const auto [batches, heads, queries, dim] = in.query.shape;
  const auto [key_batches, kv_heads, keys, key_dim] = in.key.shape;
  const auto refuse = [](const char* name, const std::array<std::int64_t, 4>& shape,
                         const std::string& expected) {
    Throw(ErrorCode::kInvalidArgument, "attention: {} {}, expected {}", name, ShapeText(shape),
          expected);
  };
  if (batches < 0 || heads < 1 || queries < 0 || dim < 1 || dim > kMaxHeadDim) {
    refuse("query", in.query.shape, fmt::format("[B, H, N, D] with D from 1 to {}", kMaxHeadDim));
  }
  if (key_batches != batches || key_dim != dim || kv_heads < 1 || keys < 0) {
    refuse("key", in.key.shape, fmt::format("[{}, Hkv, M, {}]", batches, dim));
  }
  if (heads % kv_heads != 0) {
    Throw(ErrorCode::kInvalidArgument, "attention: {} query heads do not divide over {} KV heads",
          heads, kv_heads);
  }
  const std::int64_t value_dim = in.value.shape[3];
  if (in.value.shape != std::array{batches, kv_heads, keys, value_dim} || value_dim < 1 ||
      value_dim > kMaxHeadDim) {
    refuse(
        "value", in.value.shape,
        fmt::format("[{}, {}, {}, Dv] with Dv from 1 to {}", batches, kv_heads, keys, kMaxHeadDim));
  }
  CheckMemory("query", in.query);
  CheckMemory("key", in.key);
  CheckMemory("value", in.value);
}

void CheckOptions(const AttentionOptions& options, std::int64_t heads) {
  if (!(options.soft_cap >= 0) || !std::isfinite(options.soft_cap)) {
    Throw(ErrorCode::kInvalidArgument, "attention: soft cap {}, expected 0 (none) or more, finite",
          options.soft_cap);
  }
  if (options.scale && !std::isfinite(*options.scale)) {
    Throw(ErrorCode::kInvalidArgument, "attention: scale {}, expected a finite number",
          *options.scale);
  }
  const auto check_count = [&](const char* name, std::size_t count) {
    if (count == 0 || static_cast<std::int64_t>(count) == heads) return;
    Throw(ErrorCode::kInvalidArgument, "attention: {} {}, expected one for each of {} query heads",
          count, name, heads);
  };
  check_count("head patterns", options.head_patterns.size());
  check_count("ALiBi slopes", options.alibi_slopes.size());
  check_count("sinks", options.sinks.size());
  for (std::size_t head = 0; head < options.alibi_slopes.size(); ++head) {
    if (std::isfinite(options.alibi_slopes[head])) continue;
    Throw(ErrorCode::kInvalidArgument, "attention: ALiBi slope of head {} is {}, expected a number",
          head, options.alibi_slopes[head]);
  }
  for (std::size_t head = 0; head < options.sinks.size(); ++head) {
    if (options.sinks[head] < kInfinity) continue;  // not so of NaN
    Throw(ErrorCode::kInvalidArgument,
          "attention: sink of head {} is {}, expected a number or -infinity", head,
          options.sinks[head]);
  }
}

double ScaleOf(const AttentionOptions& options, std::int64_t dim) {
  return options.scale ? double{*options.scale} : 1 / std::sqrt(static_cast<double>(dim));
}

View<const float, 4> Broadcast(const View<const float, 4>& bias,
                               const std::array<std::int64_t, 4>& shape) {
  View<const float, 4> wide = bias;
  if (bias.data == nullptr) return wide;
  for (int axis = 0; axis < 4; ++axis) {
    if (bias.shape[axis] == shape[axis]) continue;
    if (bias.shape[axis] != 1) {
      Throw(ErrorCode::kInvalidArgument, "attention: bias {} does not broadcast to {}",
            ShapeText(bias.shape), ShapeText(shape));
    }
    wide.shape[axis] = shape[axis];
    wide.strides[axis] = 0;
  }
  CheckMemory("bias", wide);
  return wide;
}

std::vector<HeadGroup> MakeGroups(const AttentionOptions& options, const AttentionShape& shape,
                                  std::int64_t batches, std::int64_t heads, std::int64_t kv_heads,
                                  std::int64_t tile_rows, AttentionScratch& scratch) {
  const std::int64_t group = heads / kv_heads;
  std::vector<HeadGroup> groups;
  for (std::int64_t head = 0; head < heads;) {
    const PatternPtr& pattern = PatternOf(options, head);
    HeadGroup next{0, head / group, head, 0, scratch.ScheduleFor(pattern, shape, tile_rows)};
    do {
      ++next.heads;
      ++head;
    } while (head < heads && head / group == next.kv_head && PatternOf(options, head) == pattern);
    groups.push_back(std::move(next));
  }
  const std::size_t of_one_batch = groups.size();
  for (std::int64_t batch = 1; batch < batches; ++batch) {
    for (std::size_t i = 0; i < of_one_batch; ++i) {
      groups.push_back(groups[i]);
      groups.back().batch = batch;
    }
  }
  return groups;
}

TensorRef<2> PageOf(const TensorRef<4>& tensor, std::int64_t head, std::int64_t page) {
  const std::int64_t first = page * kPageKeys;
  const std::int64_t heads = tensor.shape[1];
  return {tensor.At(head / heads, head % heads, first),
          tensor.type,
          {std::min(kPageKeys, tensor.shape[2] - first), tensor.shape[3]},
          {tensor.strides[2], tensor.strides[3]}};
}

TensorRef<2> GatherPage(const TensorRef<4>& tensor, const TokenOrder& order, std::int64_t head,
                        std::int64_t page, std::byte* memory) {
  const std::int64_t dim = tensor.shape[3], bytes = ElementBytes(tensor.type);
  const std::int64_t first = page * kPageKeys, heads = tensor.shape[1];
  const std::int64_t count = std::min<std::int64_t>(kPageKeys, std::ssize(order.tokens) - first);
  for (std::int64_t key = 0; key < count; ++key) {
    std::byte* to = memory + key * dim * bytes;
    const std::int64_t token = order.tokens[first + key];
    if (token < 0) {
      std::memset(to, 0, dim * bytes);
      continue;
    }
    const std::byte* from = tensor.At(head / heads, head % heads, token);
    if (tensor.strides[3] == 1) {
      std::memcpy(to, from, dim * bytes);
    } else {
      for (std::int64_t d = 0; d < dim; ++d) {
        std::memcpy(to + d * bytes, from + d * tensor.strides[3] * bytes, bytes);
      }
    }
  }
  return {memory, tensor.type, {count, dim}, {dim, 1}};
}

void StoreRow(const float* from, std::int64_t count, std::byte* to, ElementType type,
              std::int64_t stride) {
  if (type == ElementType::kF32 && stride == 1) {
    std::copy_n(from, count, reinterpret_cast<float*>(to));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    WriteElement(from[i], to + i * stride * ElementBytes(type), type);
  }
}

}  // namespace foveate
