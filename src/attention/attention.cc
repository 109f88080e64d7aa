#include "attention/attention.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "attention/executor.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/throw.h"

namespace foveate {
namespace {

// Schedules that a scratch remembers: a model has a few kinds of layers.
constexpr std::size_t kRememberedSchedules = 8;

// Keys and values that are packed at once: memory that a call takes beyond its tensors.
constexpr std::int64_t kPackedFloats = std::int64_t{16} << 20;

// With no more row tiles than this, tiles are packed as they are needed instead.
constexpr std::int64_t kFewRowTiles = 2;

// No extent is larger, nor has a tensor more elements: sizes of work cannot overflow.
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 40;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 56;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

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

template <std::size_t kRank>
std::string ShapeText(const std::array<std::int64_t, kRank>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
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
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    if (tensor.shape[axis] < 2 || tensor.strides[axis] != 0) continue;
    Throw(ErrorCode::kInvalidArgument, "attention: {} has a stride of 0 over {} elements", name,
          tensor.shape[axis]);
  }
}

double ScaleOf(const AttentionOptions& options, std::int64_t dim) {
  return options.scale ? double{*options.scale} : 1 / std::sqrt(static_cast<double>(dim));
}

// The bias with strides of 0 where it is broadcast.
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

// The pattern of a head; null stands for all keys.
const PatternPtr& PatternOf(const AttentionOptions& options, std::int64_t head) {
  const PatternPtr& pattern =
      options.head_patterns.empty() ? options.pattern : options.head_patterns[head];
  return pattern != nullptr ? pattern : FullPattern();
}

// The groups of heads that share keys and a pattern, and their schedules.
std::vector<HeadGroup> MakeGroups(const AttentionOptions& options, const AttentionShape& shape,
                                  std::int64_t batches, std::int64_t heads, std::int64_t kv_heads,
                                  int threads, AttentionScratch& scratch) {
  const std::int64_t group = heads / kv_heads;
  const std::int64_t tile_rows = ChooseTileRows(shape, group, batches * kv_heads, threads);
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

// --- plain tensors ---

class TensorData : public AttentionData {
 public:
  TensorData(const AttentionKernels& kernels, const AttentionInputs& in,
             const AttentionOutputs& out, bool pack, bool few_rows)
      : kernels_(kernels), in_(in), out_(out), pages_(DivideUp(in.key.shape[2], kPageKeys)) {
    layout_ = {.key_dim = in.key.shape[3], .value_dim = in.value.shape[3]};
    pack_ = pack;
    layout_.in_place = !pack && few_rows && CanReadInPlace();
    if (layout_.in_place) {
      layout_.row_type = in.key.type;
      layout_.key_stride = in.key.strides[2];
      layout_.value_stride = in.value.strides[2];
    } else {
      if (pack) step_tiles_ = StepTiles(layout_);
      layout_.value_panel = step_tiles_ * kPageKeys * kPanel;
    }
  }

  const PageLayout& layout() const override { return layout_; }

  // Floats of one packed head.
  std::int64_t HeadSize() const { return DivideUp(pages_, step_tiles_) * StepSize(); }

  // Packs heads [first, first + count), counted over batches.
  void Pack(Context& context, std::int64_t first, std::int64_t count, float* memory) {
    first_packed_ = first;
    packed_ = memory;
    context.pool().ForEach(count * pages_, [&](std::int64_t i, int) {
      const std::int64_t page = i % pages_;
      PackTile(first + i / pages_, page, PackedKeys(i / pages_, page),
               PackedValues(i / pages_, page));
    });
  }

  void Query(std::int64_t batch, std::int64_t head, std::int64_t row, float* to) const override {
    kernels_.widen(in_.query.At(batch, head, row), in_.query.type, in_.query.strides[3],
                   layout_.key_dim, to);
  }

  KeyTile Tile(const HeadGroup& group, std::int64_t tile, float* memory) const override {
    const std::int64_t head = group.batch * in_.key.shape[1] + group.kv_head;
    if (layout_.in_place) {
      const TensorRef<2> keys = Page(in_.key, head, tile);
      return {
          .keys = keys.data, .values = Page(in_.value, head, tile).data, .count = keys.shape[0]};
    }
    float* keys = memory;
    float* values = memory + kPageKeys * layout_.key_dim;
    if (pack_) {
      keys = PackedKeys(head - first_packed_, tile);
      values = PackedValues(head - first_packed_, tile);
    } else {
      PackTile(head, tile, keys, values);
    }
    return {.keys = reinterpret_cast<const std::byte*>(keys),
            .values = reinterpret_cast<const std::byte*>(values)};
  }

  void Store(std::int64_t batch, std::int64_t head, std::int64_t row, const float* out,
             float lse) const override {
    std::byte* to = out_.out.At(batch, head, row);
    const std::int64_t stride = out_.out.strides[3];
    if (out_.out.type == ElementType::kF32 && stride == 1) {
      std::copy_n(out, layout_.value_dim, reinterpret_cast<float*>(to));
    } else {
      for (std::int64_t i = 0; i < layout_.value_dim; ++i) StoreElement(to, i * stride, out[i]);
    }
    if (out_.lse.data != nullptr) out_.lse(batch, head, row) = lse;
  }

 private:
  void StoreElement(std::byte* to, std::int64_t at, float value) const {
    switch (out_.out.type) {
      case ElementType::kF32: reinterpret_cast<float*>(to)[at] = value; break;
      case ElementType::kF16: reinterpret_cast<Half*>(to)[at] = ToHalf(value); break;
      case ElementType::kBF16: reinterpret_cast<BFloat16*>(to)[at] = ToBFloat16(value); break;
    }
  }

  // The kernel reads whole panels of value rows.
  bool CanReadInPlace() const {
    return in_.key.type == in_.value.type && in_.key.strides[3] == 1 && in_.value.strides[3] == 1 &&
           layout_.value_dim % kPanel == 0;
  }

  // Steps one after the other, each with its keys and then its values: in one piece what is used
  // at a time, or panels of values that lie a power of two apart would share the same cache sets.
  std::int64_t StepSize() const {
    return step_tiles_ * kPageKeys * (layout_.key_dim + layout_.value_width());
  }
  float* PackedStep(std::int64_t index, std::int64_t page) const {
    return packed_ + index * HeadSize() + page / step_tiles_ * StepSize();
  }
  float* PackedKeys(std::int64_t index, std::int64_t page) const {
    return PackedStep(index, page) + page % step_tiles_ * kPageKeys * layout_.key_dim;
  }
  float* PackedValues(std::int64_t index, std::int64_t page) const {
    return PackedStep(index, page) + step_tiles_ * kPageKeys * layout_.key_dim +
           page % step_tiles_ * kPageKeys * kPanel;
  }

  // The rows of a page of head `head`, counted over batches.
  TensorRef<2> Page(const TensorRef<4>& tensor, std::int64_t head, std::int64_t page) const {
    const std::int64_t first = page * kPageKeys;
    const std::int64_t heads = tensor.shape[1];
    return {tensor.At(head / heads, head % heads, first),
            tensor.type,
            {std::min(kPageKeys, tensor.shape[2] - first), tensor.shape[3]},
            {tensor.strides[2], tensor.strides[3]}};
  }
  void PackTile(std::int64_t head, std::int64_t page, float* keys, float* values) const {
    kernels_.pack_keys(Page(in_.key, head, page), keys);
    kernels_.pack_values(Page(in_.value, head, page), layout_.value_panel, values);
  }

  const AttentionKernels& kernels_;
  const AttentionInputs& in_;
  const AttentionOutputs& out_;
  PageLayout layout_;
  std::int64_t pages_;
  std::int64_t step_tiles_ = 1;
  bool pack_ = false;
  std::int64_t first_packed_ = 0;
  float* packed_ = nullptr;
};

void CheckTensors(const AttentionInputs& in, const AttentionOutputs& out) {
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
  if (out.out.shape != std::array{batches, heads, queries, value_dim}) {
    refuse("out", out.out.shape, ShapeText(std::array{batches, heads, queries, value_dim}));
  }
  if (out.lse.data != nullptr && out.lse.shape != std::array{batches, heads, queries}) {
    Throw(ErrorCode::kInvalidArgument, "attention: lse {}, expected [{}, {}, {}]",
          ShapeText(out.lse.shape), batches, heads, queries);
  }
  CheckMemory("query", in.query);
  CheckMemory("key", in.key);
  CheckMemory("value", in.value);
  CheckWritable("out", out.out);
  if (out.lse.data != nullptr) CheckWritable("lse", out.lse);
}

// --- a KV cache ---

class CacheData : public AttentionData {
 public:
  CacheData(const AttentionKernels& kernels, const KvCache& cache,
            const View<const float, 3>& queries, const View<float, 3>& out,
            const View<float, 2>& lse)
      : kernels_(kernels), cache_(cache), queries_(queries), out_(out), lse_(lse) {}

  const PageLayout& layout() const override { return cache_.layout(); }

  void Query(std::int64_t, std::int64_t head, std::int64_t row, float* to) const override {
    kernels_.widen(reinterpret_cast<const std::byte*>(&queries_(row, head, 0)), ElementType::kF32,
                   queries_.strides[2], layout().key_dim, to);
  }

  KeyTile Tile(const HeadGroup& group, std::int64_t tile, float*) const override {
    return {.keys = cache_.Keys(tile, group.kv_head), .values = cache_.Values(tile, group.kv_head)};
  }

  void Store(std::int64_t, std::int64_t head, std::int64_t row, const float* out,
             float lse) const override {
    if (lse_.data != nullptr) lse_(row, head) = lse;
    float* to = &out_(row, head, 0);
    const std::int64_t stride = out_.strides[2];
    if (stride == 1) {
      std::copy_n(out, layout().value_dim, to);
    } else {
      for (std::int64_t i = 0; i < layout().value_dim; ++i) to[i * stride] = out[i];
    }
  }

 private:
  const AttentionKernels& kernels_;
  const KvCache& cache_;
  const View<const float, 3>& queries_;
  const View<float, 3>& out_;
  const View<float, 2>& lse_;
};

void CheckCache(const KvCache& cache, const View<const float, 3>& queries,
                const View<float, 3>& out) {
  const KvCacheOptions& kv = cache.options();
  const auto [tokens, heads, dim] = queries.shape;
  if (dim != kv.key_dim || heads <= 0 || heads % kv.kv_heads != 0 || tokens > cache.length() ||
      tokens < 0) {
    Throw(ErrorCode::kInvalidArgument,
          "attention: queries [{}, {}, {}] do not fit a cache of {} positions, {} heads of "
          "dimension {}",
          tokens, heads, dim, cache.length(), kv.kv_heads, kv.key_dim);
  }
  if (out.shape != std::array{tokens, heads, kv.value_dim}) {
    Throw(ErrorCode::kInvalidArgument, "attention: output [{}, {}, {}], expected [{}, {}, {}]",
          out.shape[0], out.shape[1], out.shape[2], tokens, heads, kv.value_dim);
  }
}

// Every tile of the schedule must still be held.
void CheckKept(const KvCache& cache, const Schedule& schedule) {
  if (cache.first_kept() == 0) return;
  for (const ScheduleItem& item : schedule.items()) {
    for (const TileRun& run : schedule.runs(item)) {
      if (cache.Holds(run.begin, run.end)) continue;
      Throw(ErrorCode::kInvalidArgument,
            "attention: the query at position {} needs keys from {} on, the cache keeps {} and on "
            "(it was made for a window of {})",
            schedule.shape().Position(item.rows.begin), run.begin * kPageKeys, cache.first_kept(),
            cache.options().window);
    }
  }
}

}  // namespace

float* AttentionScratch::Grown(Buffer<float>& buffer, std::int64_t count) {
  // With room to grow: a cache gets longer by a token at a time.
  if (buffer.size() < count) buffer = Buffer<float>(count + count / 2);
  return buffer.data();
}

std::shared_ptr<const Schedule> AttentionScratch::ScheduleFor(const PatternPtr& pattern,
                                                              const AttentionShape& shape,
                                                              std::int64_t tile_rows) {
  for (const Entry& entry : schedules_) {
    if (entry.pattern == pattern && entry.tile_rows == tile_rows &&
        entry.schedule->shape() == shape) {
      return entry.schedule;
    }
  }
  if (schedules_.size() == kRememberedSchedules) schedules_.erase(schedules_.begin());
  schedules_.push_back(
      {pattern, tile_rows, std::make_shared<const Schedule>(pattern, shape, tile_rows)});
  return schedules_.back().schedule;
}

void Attention(Context& context, const AttentionInputs& inputs, const AttentionOptions& options,
               AttentionScratch& scratch, const AttentionOutputs& outputs) {
  CheckTensors(inputs, outputs);
  const auto [batches, heads, queries, dim] = inputs.query.shape;
  const std::int64_t kv_heads = inputs.key.shape[1];
  const AttentionShape shape{queries, inputs.key.shape[2]};
  CheckOptions(options, heads);
  AttentionOptions used = options;
  used.bias = Broadcast(options.bias, {batches, heads, queries, shape.keys});
  if (batches == 0 || queries == 0) return;

  const std::vector<HeadGroup> groups =
      MakeGroups(used, shape, batches, heads, kv_heads, context.pool().size(), scratch);
  std::size_t row_tiles = 0;
  for (const HeadGroup& group : groups) {
    row_tiles = std::max(row_tiles, group.schedule->items().size());
  }
  const bool pack = shape.keys > 0 && static_cast<std::int64_t>(row_tiles) > kFewRowTiles;
  const bool few_rows = queries * (heads / kv_heads) <= kDirectRows;
  TensorData data(AttentionKernelsFor(context.isa()), inputs, outputs, pack, few_rows);
  AttentionCall call{data, used, ScaleOf(used, dim), {}};
  if (!pack) {
    call.groups = groups;
    return Execute(context, call, scratch);
  }
  // As many heads at a time as a bounded memory holds.
  const std::int64_t all = batches * kv_heads;
  const std::int64_t wave = std::clamp<std::int64_t>(kPackedFloats / data.HeadSize(), 1, all);
  float* packed = scratch.ReservePacked(wave * data.HeadSize());
  auto next = groups.begin();
  for (std::int64_t first = 0; first < all; first += wave) {
    const std::int64_t end = std::min(first + wave, all);
    data.Pack(context, first, end - first, packed);
    call.groups.clear();
    for (; next != groups.end() && next->batch * kv_heads + next->kv_head < end; ++next) {
      call.groups.push_back(*next);
    }
    Execute(context, call, scratch);
  }
}

void Attend(Context& context, const KvCache& cache, View<const float, 3> queries,
            const AttentionOptions& options, AttentionScratch& scratch, View<float, 3> out,
            View<float, 2> lse) {
  CheckCache(cache, queries, out);
  const auto [tokens, heads, dim] = queries.shape;
  CheckOptions(options, heads);
  if (tokens == 0) return;
  AttentionOptions used = options;
  used.bias = Broadcast(options.bias, {1, heads, tokens, cache.length()});
  const CacheData data(AttentionKernelsFor(context.isa()), cache, queries, out, lse);
  const AttentionCall call{data, used, ScaleOf(used, dim),
                           MakeGroups(used, {tokens, cache.length()}, 1, heads,
                                      cache.options().kv_heads, context.pool().size(), scratch)};
  for (const HeadGroup& group : call.groups) CheckKept(cache, *group.schedule);
  Execute(context, call, scratch);
}

void MergeAttention(View<const float, 2> more, View<const float, 1> more_lse, View<float, 2> out,
                    View<float, 1> lse) {
  const auto [rows, dim] = out.shape;
  if (more.shape != out.shape || more_lse.shape != lse.shape || lse.shape[0] != rows) {
    Throw(ErrorCode::kInvalidArgument,
          "merge of attention: [{}, {}] with {} and [{}, {}] with {} do not agree", more.shape[0],
          more.shape[1], more_lse.shape[0], rows, dim, lse.shape[0]);
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const double here = lse(row), there = more_lse(row);
    if (there == -INFINITY) continue;
    const double largest = std::max(here, there);
    const double keep = here == -INFINITY ? 0.0 : std::exp(here - largest);
    const double take = std::exp(there - largest);
    const double sum = keep + take;
    for (std::int64_t d = 0; d < dim; ++d) {
      const double kept = keep > 0 ? keep * out(row, d) : 0.0;
      out(row, d) = static_cast<float>((kept + take * more(row, d)) / sum);
    }
    lse(row) = static_cast<float>(largest + std::log(sum));
  }
}

}  // namespace foveate
