#include "attention/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "attention/attention_call.h"
#include "attention/scored_keys.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "base/throw.h"

namespace foveate {
namespace {

// Schedules that a scratch remembers: a model has a few kinds of layers.
constexpr std::size_t kRememberedSchedules = 8;

// With no more row tiles than this, tiles are packed as they are needed instead.
constexpr std::int64_t kFewRowTiles = 2;

// --- plain tensors ---

class TensorData : public AttentionData {
 public:
  // `order`: of rows and keys; null: as they come.
  TensorData(const AttentionKernels& kernels, const AttentionInputs& in,
             const AttentionOutputs& out, const TokenOrder* order, bool pack, bool few_rows,
             bool pairs)
      : kernels_(kernels),
        in_(in),
        out_(out),
        order_(order),
        keys_(order != nullptr ? std::ssize(order->tokens) : in.key.shape[2]),
        pages_(DivideUp(keys_, kPageKeys)) {
    layout_ = {.key_dim = in.key.shape[3], .value_dim = in.value.shape[3], .pairs = pairs};
    pack_ = pack;
    layout_.in_place = !pairs && !pack && few_rows && CanReadInPlace();
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

  // Floats that a thread needs to gather a page.
  std::int64_t GatherSize() const {
    return order_ == nullptr ? 0 : kPageKeys * (layout_.key_dim + layout_.value_dim);
  }

  // Packs heads [first, first + count), counted over batches. `memory` has room for them and for
  // what every thread gathers.
  void Pack(Context& context, std::int64_t first, std::int64_t count, float* memory) {
    first_packed_ = first;
    packed_ = memory;
    context.pool().ForEach(count * pages_, [&](std::int64_t i, int worker) {
      const std::int64_t page = i % pages_;
      PackTile(first + i / pages_, page, PackedKeys(i / pages_, page),
               PackedValues(i / pages_, page), memory + count * HeadSize() + worker * GatherSize());
    });
  }

  void Query(std::int64_t batch, std::int64_t head, std::int64_t place, float* to) const override {
    const std::int64_t row = TokenAt(place);
    if (row < 0) {
      std::fill_n(to, layout_.key_dim, 0.0f);
      return;
    }
    kernels_.widen(in_.query.At(batch, head, row), in_.query.type, in_.query.strides[3],
                   layout_.key_dim, to);
  }

  KeyTile Tile(const HeadGroup& group, std::int64_t tile, float* memory) const override {
    const std::int64_t head = group.batch * in_.key.shape[1] + group.kv_head;
    if (layout_.in_place) {
      const TensorRef<2> keys = PageOf(in_.key, head, tile);
      return {
          .keys = keys.data, .values = PageOf(in_.value, head, tile).data, .count = keys.shape[0]};
    }
    float* keys = memory;
    float* values = memory + layout_.packed_keys();
    if (pack_) {
      keys = PackedKeys(head - first_packed_, tile);
      values = PackedValues(head - first_packed_, tile);
    } else {
      PackTile(head, tile, keys, values, nullptr);
    }
    return {.keys = reinterpret_cast<const std::byte*>(keys),
            .values = reinterpret_cast<const std::byte*>(values)};
  }

  void Store(std::int64_t batch, std::int64_t head, std::int64_t place, const float* out,
             float lse) const override {
    const std::int64_t row = TokenAt(place);
    if (row < 0) return;
    StoreRow(out, layout_.value_dim, out_.out.At(batch, head, row), out_.out.type,
             out_.out.strides[3]);
    if (out_.lse.data != nullptr) out_.lse(batch, head, row) = lse;
  }

 private:
  std::int64_t TokenAt(std::int64_t place) const {
    return order_ == nullptr ? place : order_->tokens[place];
  }

  // The kernel reads whole panels of value rows.
  bool CanReadInPlace() const {
    return in_.key.type == in_.value.type && in_.key.strides[3] == 1 && in_.value.strides[3] == 1 &&
           layout_.value_dim % kPanel == 0;
  }

  // Steps one after the other, each with its keys and then its values: in one piece what is used
  // at a time, or panels of values that lie a power of two apart would share the same cache sets.
  std::int64_t StepSize() const {
    return step_tiles_ * (layout_.packed_keys() + layout_.packed_values());
  }
  float* PackedStep(std::int64_t index, std::int64_t page) const {
    return packed_ + index * HeadSize() + page / step_tiles_ * StepSize();
  }
  float* PackedKeys(std::int64_t index, std::int64_t page) const {
    return PackedStep(index, page) + page % step_tiles_ * layout_.packed_keys();
  }
  float* PackedValues(std::int64_t index, std::int64_t page) const {
    return PackedStep(index, page) + step_tiles_ * layout_.packed_keys() +
           page % step_tiles_ * layout_.packed_value_step();
  }

  // `gathered`: GatherSize() floats.
  void PackTile(std::int64_t head, std::int64_t page, float* keys, float* values,
                float* gathered) const {
    const auto rows = [&](const TensorRef<4>& tensor, std::int64_t offset) {
      return order_ == nullptr ? PageOf(tensor, head, page)
                               : GatherPage(tensor, *order_, head, page,
                                            reinterpret_cast<std::byte*>(gathered + offset));
    };
    kernels_.pack_page(layout_, rows(in_.key, 0), rows(in_.value, kPageKeys * layout_.key_dim),
                       keys, values);
  }

  const AttentionKernels& kernels_;
  const AttentionInputs& in_;
  const AttentionOutputs& out_;
  const TokenOrder* order_;
  PageLayout layout_;
  std::int64_t keys_;  // fillers included
  std::int64_t pages_;
  std::int64_t step_tiles_ = 1;
  bool pack_ = false;
  std::int64_t first_packed_ = 0;
  float* packed_ = nullptr;
};

bool AllBFloat16(const AttentionInputs& in) {
  return in.query.type == ElementType::kBF16 && in.key.type == ElementType::kBF16 &&
         in.value.type == ElementType::kBF16;
}

void CheckOutputs(const AttentionInputs& in, const AttentionOutputs& out) {
  const auto [batches, heads, queries, dim] = in.query.shape;
  CheckShape("out", out.out.shape, {batches, heads, queries, in.value.shape[3]});
  CheckWritable("out", out.out);
  if (out.lse.data == nullptr) return;
  CheckShape("lse", out.lse.shape, {batches, heads, queries});
  CheckWritable("lse", out.lse);
}

// --- a KV cache ---

class CacheData : public AttentionData {
 public:
  CacheData(const AttentionKernels& kernels, const KvCache& cache,
            const View<const float, 3>& queries, const View<float, 3>& out,
            const View<float, 2>& lse)
      : cache_(cache), kernels_(kernels), queries_(queries), out_(out), lse_(lse) {}

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

 protected:
  const KvCache& cache_;

 private:
  const AttentionKernels& kernels_;
  const View<const float, 3>& queries_;
  const View<float, 3>& out_;
  const View<float, 2>& lse_;
};

// A cache of which a single row reads the values of listed keys, whose scores are known: those are
// its keys 0, 1, ...
class ListedData final : public CacheData {
 public:
  // `scale`: of the scores, as queries have it otherwise.
  ListedData(const AttentionKernels& kernels, const KvCache& cache,
             const View<const float, 3>& queries, const View<float, 3>& out,
             const View<float, 2>& lse, const AttentionOptions& options, double scale)
      : CacheData(kernels, cache, queries, out, lse),
        options_(options),
        scale_(static_cast<float>(scale)) {}

  // `memory` holds the values in the cache's own type, then the scores.
  KeyTile Tile(const HeadGroup& group, std::int64_t tile, float* memory) const override {
    const ScoredKeys& listed = *options_.head_patterns[group.first_head]->Scored();
    const std::int64_t first = tile * kPageKeys;
    const std::int64_t count = std::min<std::int64_t>(kPageKeys, std::ssize(listed.keys) - first);
    auto* values = reinterpret_cast<std::byte*>(memory);
    // All are asked for before the first is waited for: they lie far apart.
    for (std::int64_t i = 0; i < count; ++i) {
      cache_.FetchValue(listed.keys[first + i], group.kv_head);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      cache_.CopyValue(listed.keys[first + i], group.kv_head, values, i);
    }
    const float* from = &listed.scores[first * group.heads];
    float* scores = memory + kPageKeys * layout().value_width();
    for (std::int64_t i = 0; i < kPageKeys * group.heads; ++i) scores[i] = from[i] * scale_;
    return {.values = values, .scores = scores};
  }

 private:
  const AttentionOptions& options_;
  float scale_;
};

// The groups of a single row whose heads all have their keys listed; none if one has not, or if
// what is done to scores depends on where the keys are.
std::vector<HeadGroup> ListedGroups(const AttentionOptions& options, const KvCache& cache,
                                    const AttentionShape& shape, std::int64_t heads,
                                    AttentionScratch& scratch) {
  const std::int64_t kv_heads = cache.options().kv_heads, group = heads / kv_heads;
  const bool fits = shape.queries == 1 && group <= std::min(kDirectRows, cache.options().key_dim) &&
                    options.alibi_slopes.empty() && options.bias.data == nullptr &&
                    cache.first_kept() == 0 && !options.head_patterns.empty();
  std::vector<HeadGroup> groups;
  for (std::int64_t kv_head = 0; fits && kv_head < kv_heads; ++kv_head) {
    const std::int64_t first = kv_head * group;
    const PatternPtr& pattern = options.head_patterns[first];
    const ScoredKeys* listed = pattern->Scored();
    for (std::int64_t head = first; head < first + group; ++head) {
      if (listed == nullptr || options.head_patterns[head] != pattern) return {};
    }
    const AttentionShape among{1, std::ssize(listed->keys)};
    groups.push_back({0, kv_head, first, group, scratch.ScheduleFor(FullPattern(), among, 1)});
  }
  return groups;
}

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

std::shared_ptr<const TokenOrder> AttentionScratch::OrderFor(const PatternPtr& pattern,
                                                             const AttentionShape& shape) {
  for (const OrderEntry& entry : orders_) {
    if (entry.pattern == pattern && entry.shape == shape) return entry.order;
  }
  if (orders_.size() == kRememberedSchedules) orders_.erase(orders_.begin());
  pattern->Check(shape);
  orders_.push_back({pattern, shape, pattern->Order(shape)});
  return orders_.back().order;
}

void Attention(Context& context, const AttentionInputs& inputs, const AttentionOptions& options,
               AttentionScratch& scratch, const AttentionOutputs& outputs) {
  CheckInputs(inputs);
  CheckOutputs(inputs, outputs);
  const auto [batches, heads, queries, dim] = inputs.query.shape;
  const std::int64_t kv_heads = inputs.key.shape[1];
  AttentionShape shape{queries, inputs.key.shape[2]};
  CheckOptions(options, heads);
  AttentionOptions used = options;
  used.bias = Broadcast(options.bias, {batches, heads, queries, shape.keys});
  if (batches == 0 || queries == 0) return;

  const std::shared_ptr<const TokenOrder> order = OrderOf(used, shape, heads, scratch);
  if (order != nullptr) {  // from here on rows and keys are places
    used.pattern = order->pattern;
    used.head_patterns.clear();
    shape = {std::ssize(order->tokens), std::ssize(order->tokens)};
  }
  const std::int64_t tile_rows =
      ChooseTileRows(shape, heads / kv_heads, batches * kv_heads, context.pool().size());
  const std::vector<HeadGroup> groups =
      MakeGroups(used, shape, batches, heads, kv_heads, tile_rows, scratch);
  std::size_t row_tiles = 0;
  for (const HeadGroup& group : groups) {
    row_tiles = std::max(row_tiles, group.schedule->items().size());
  }
  const bool pack =
      order != nullptr || (shape.keys > 0 && static_cast<std::int64_t>(row_tiles) > kFewRowTiles);
  const bool few_rows = queries * (heads / kv_heads) <= kDirectRows;
  const bool pairs = HasMatrixUnit(context.isa()) && AllBFloat16(inputs);
  TensorData data(AttentionKernelsFor(context.isa()), inputs, outputs, order.get(), pack, few_rows,
                  pairs);
  AttentionCall call{data, used, ScaleOf(used, dim), {}};
  if (!pack) {
    call.groups = groups;
    return Execute(context, call, scratch);
  }
  // As many heads at a time as a bounded memory holds.
  const std::int64_t all = batches * kv_heads;
  const std::int64_t wave = std::clamp<std::int64_t>(kPackedFloats / data.HeadSize(), 1, all);
  float* packed =
      scratch.ReservePacked(wave * data.HeadSize() + context.pool().size() * data.GatherSize());
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
  const AttentionKernels& kernels = AttentionKernelsFor(context.isa());
  const AttentionShape shape{tokens, cache.length()};
  const double scale = ScaleOf(used, dim);
  const std::vector<HeadGroup> listed = ListedGroups(used, cache, shape, heads, scratch);
  if (!listed.empty()) {
    const ListedData data(kernels, cache, queries, out, lse, used,
                          used.soft_cap > 0 ? scale : scale * kLog2E);
    return Execute(context, {data, used, scale, listed}, scratch);
  }
  const CacheData data(kernels, cache, queries, out, lse);
  const std::int64_t kv_heads = cache.options().kv_heads;
  const std::int64_t tile_rows =
      ChooseTileRows(shape, heads / kv_heads, kv_heads, context.pool().size());
  const AttentionCall call{data, used, scale,
                           MakeGroups(used, shape, 1, heads, kv_heads, tile_rows, scratch)};
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
