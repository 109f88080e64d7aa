// What the calls of attention have in common, forward and backward: checks of tensors and options,
// the heads that share work, and rows as their tensors store them.
#pragma once

#include <fmt/ranges.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "attention/executor.h"
#include "base/checked.h"
#include "base/throw.h"

namespace foveate {

// Packed tensors at a time: floats that a call takes beyond its tensors.
inline constexpr std::int64_t kPackedFloats = std::int64_t{16} << 20;

// No extent is larger, nor has a tensor more elements: sizes of work cannot overflow.
inline constexpr std::int64_t kMaxExtent = std::int64_t{1} << 40;
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 56;

template <std::size_t kRank>
std::string ShapeText(const std::array<std::int64_t, kRank>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

template <std::size_t kRank>
void CheckShape(const char* name, const std::array<std::int64_t, kRank>& shape,
                const std::array<std::int64_t, kRank>& expected) {
  if (shape == expected) return;
  Throw(ErrorCode::kInvalidArgument, "attention: {} {}, expected {}", name, ShapeText(shape),
        ShapeText(expected));
}

// Every element can be addressed, and there is memory that holds them. Works on any kind of view,
// of extents that are not negative.
template <typename Tensor>
void CheckMemory(const char* name, const Tensor& tensor) {
  std::optional<std::uint64_t> elements = 1;
  std::optional<std::uint64_t> span = 1;
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    const auto extent = static_cast<std::uint64_t>(tensor.shape[axis]);
    if (extent > kMaxExtent) span = std::nullopt;
    if (elements) elements = CheckedMul(*elements, extent);
    const auto stride = static_cast<std::uint64_t>(tensor.strides[axis]);
    const std::uint64_t distance = tensor.strides[axis] < 0 ? 0 - stride : stride;
    const auto reach = CheckedMul(extent > 0 ? extent - 1 : 0, distance);
    if (span) span = reach ? CheckedAdd(*span, *reach) : std::nullopt;
  }
  if (!elements || *elements > kMaxElements || !span || *span > kMaxElements) {
    Throw(ErrorCode::kLimit, "attention: {} {} with strides {} is more than memory can address",
          name, ShapeText(tensor.shape), ShapeText(tensor.strides));
  }
  if (*elements > 0 && tensor.data == nullptr) {
    Throw(ErrorCode::kInvalidArgument, "attention: {} has no data", name);
  }
}

// What is written must not be the same memory twice.
template <typename Tensor>
void CheckWritable(const char* name, const Tensor& tensor) {
  CheckMemory(name, tensor);
  for (const std::int64_t extent : tensor.shape) {
    if (extent == 0) return;
  }
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    if (tensor.shape[axis] < 2 || tensor.strides[axis] != 0) continue;
    Throw(ErrorCode::kInvalidArgument, "attention: {} has a stride of 0 over {} elements", name,
          tensor.shape[axis]);
  }
}

// Shapes of query, key and value that fit together, in memory.
void CheckInputs(const AttentionInputs& in);

void CheckOptions(const AttentionOptions& options, std::int64_t heads);

double ScaleOf(const AttentionOptions& options, std::int64_t dim);

// The bias with strides of 0 where it is broadcast; throws where it cannot be.
View<const float, 4> Broadcast(const View<const float, 4>& bias,
                               const std::array<std::int64_t, 4>& shape);

// The pattern of a head; the full one where none is given.
const PatternPtr& PatternOf(const AttentionOptions& options, std::int64_t head);

// The order that the pattern of all heads declares; null: as they come. A bias and ALiBi speak of
// tokens as they come, and so is the order where there are any.
std::shared_ptr<const TokenOrder> OrderOf(const AttentionOptions& options,
                                          const AttentionShape& shape, std::int64_t heads,
                                          AttentionScratch& scratch);

// The groups of heads that share keys and a pattern, batch by batch in the order of their heads,
// and their schedules.
std::vector<HeadGroup> MakeGroups(const AttentionOptions& options, const AttentionShape& shape,
                                  std::int64_t batches, std::int64_t heads, std::int64_t kv_heads,
                                  std::int64_t tile_rows, AttentionScratch& scratch);

// The rows [page * 64, ...) of a head, counted over batches; fewer than 64 at the end.
TensorRef<2> PageOf(const TensorRef<4>& tensor, std::int64_t head, std::int64_t page);

// The same of places in another order, copied to `memory`; fillers are zeros.
TensorRef<2> GatherPage(const TensorRef<4>& tensor, const TokenOrder& order, std::int64_t head,
                        std::int64_t page, std::byte* memory);

// Writes `count` numbers as elements of `type` that lie `stride` apart.
void StoreRow(const float* from, std::int64_t count, std::byte* to, ElementType type,
              std::int64_t stride);

}  // namespace foveate
