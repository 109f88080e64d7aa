#include "attention/attention_backward.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "attention/attention_call.h"
#include "attention/backward_parts.h"
#include "attention/executor.h"
#include "base/checked.h"
#include "base/throw.h"
#include "kernels/attention_backward_kernels.h"

namespace foveate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

void CheckCall(const AttentionBackwardInputs& in, const AttentionOptions& options,
               const AttentionGradients& out) {
  CheckInputs(in.forward);
  const auto [batches, heads, queries, dim] = in.forward.query.shape;
  const std::array rows{batches, heads, queries, in.forward.value.shape[3]};
  CheckShape("out", in.out.shape, rows);
  CheckShape("dout", in.dout.shape, rows);
  CheckShape("lse", in.lse.shape, {batches, heads, queries});
  CheckMemory("out", in.out);
  CheckMemory("dout", in.dout);
  CheckMemory("lse", in.lse);
  CheckShape("dquery", out.dquery.shape, in.forward.query.shape);
  CheckShape("dkey", out.dkey.shape, in.forward.key.shape);
  CheckShape("dvalue", out.dvalue.shape, in.forward.value.shape);
  CheckWritable("dquery", out.dquery);
  CheckWritable("dkey", out.dkey);
  CheckWritable("dvalue", out.dvalue);
  CheckOptions(options, heads);
  if (out.dsinks.data == nullptr) return;
  if (options.sinks.empty()) {
    Throw(ErrorCode::kInvalidArgument, "attention: dsinks is wanted, but there are no sinks");
  }
  CheckShape("dsinks", out.dsinks.shape, {heads});
  CheckWritable("dsinks", out.dsinks);
}

// Where the arrays of a tile of rows of one head lie in the memory of a worker, in floats.
struct RowArrays {
  explicit RowArrays(const BackwardShape& shape)
      : queries(Take(kPackedRows * shape.key_dim)),
        query_panels(Take(kBackwardRows * shape.key_width())),
        douts(Take(kPackedRows * shape.value_dim)),
        dout_panels(Take(kBackwardRows * shape.value_width())),
        lse(Take(kBackwardRows)),
        delta(Take(kBackwardRows)),
        dquery(Take(kBackwardRows * shape.key_width())),
        row(Take(std::max(shape.key_width(), shape.value_width()))),
        out_row(Take(shape.value_width())),
        scratch(Take(kBackwardScratch)) {}

  static constexpr std::int64_t kPackedRows = RoundUp(kBackwardRows, kRowStep);
  std::int64_t size = 0;
  std::int64_t queries, query_panels, douts, dout_panels, lse, delta, dquery;
  std::int64_t row, out_row;  // of tensors, widened
  std::int64_t scratch;       // of the kernel

 private:
  std::int64_t Take(std::int64_t count) {
    const std::int64_t begin = size;
    size += RoundUp(count, kPanel);
    return begin;
  }
};

class Backward {
 public:
  Backward(Context& context, const AttentionBackwardInputs& in, const AttentionOptions& options,
           std::span<const HeadGroup> groups, const TokenOrder* order, AttentionScratch& scratch,
           const AttentionGradients& out)
      : context_(context),
        in_(in),
        options_(options),
        groups_(groups),
        order_(order),
        scratch_(scratch),
        out_(out),
        forward_kernels_(AttentionKernelsFor(context.isa())),
        kernels_(AttentionBackwardKernelsFor(context.isa())),
        shape_{in.forward.key.shape[3], in.forward.value.shape[3]},
        arrays_(shape_),
        scale_(ScaleOf(options, shape_.key_dim)),
        keys_(order != nullptr ? std::ssize(order->tokens) : in.forward.key.shape[2]),
        pages_(DivideUp(keys_, kPageKeys)),
        kv_heads_(in.forward.key.shape[1]),
        group_heads_(in.forward.query.shape[1] / kv_heads_) {}

  void All() {
    ListHeads();
    for (std::size_t first = 0; first < heads_.size();) {
      std::size_t end = first;
      std::int64_t floats = 0;
      const std::int64_t most = std::max(kPackedFloats, TensorElements());
      while (end < heads_.size() && (end == first || floats + heads_[end].floats <= most)) {
        floats += heads_[end++].floats;
      }
      Wave(first, end, scratch_.ReservePacked(floats));
      first = end;
    }
    StoreSinks();
  }

 private:
  // A KV head of a batch.
  struct Head {
    std::vector<BackwardPart> parts;
    std::int64_t floats = 0;  // of its packed keys and values and of the gradients of its parts
    float* packed = nullptr;
    std::vector<float*> gradients;  // [parts]
  };
  struct PartAt {
    std::size_t head = 0;
    std::size_t part = 0;
  };

  std::int64_t TensorElements() const {
    const auto elements = [](const auto& tensor) {
      return tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
    };
    return elements(in_.forward.query) + elements(in_.forward.key) + elements(in_.forward.value);
  }

  void ListHeads() {
    const std::int64_t count = in_.forward.query.shape[0] * kv_heads_;
    std::size_t group = 0;
    for (std::int64_t index = 0; index < count; ++index) {
      const std::size_t first = group;
      while (group < groups_.size() &&
             groups_[group].batch * kv_heads_ + groups_[group].kv_head == index) {
        ++group;
      }
      Head head{.parts = CutBackward(groups_.subspan(first, group - first),
                                     static_cast<std::int64_t>(first), count),
                .floats = pages_ * shape_.tile_floats()};
      for (const BackwardPart& part : head.parts) {
        head.floats += part.tiles.size() * shape_.gradient_floats();
      }
      heads_.push_back(std::move(head));
    }
    for (const HeadGroup& at : groups_) {
      for (const ScheduleItem& item : at.schedule->items()) {
        std::int64_t partial = 0;
        for (const TileRun& run : at.schedule->runs(item)) {
          if (run.partial) partial += run.end - run.begin;
        }
        most_partial_ = std::max(most_partial_, partial);
      }
    }
  }

  // Packs the keys of some KV heads, runs their parts, adds these up.
  void Wave(std::size_t first, std::size_t end, float* memory) {
    std::vector<PartAt> parts;
    for (std::size_t h = first; h < end; ++h) {
      Head& head = heads_[h];
      head.packed = memory;
      memory += pages_ * shape_.tile_floats();
      for (std::size_t p = 0; p < head.parts.size(); ++p) {
        parts.push_back({h, p});
        head.gradients.push_back(memory);
        memory += head.parts[p].tiles.size() * shape_.gradient_floats();
      }
    }
    const auto tiles = static_cast<std::int64_t>(end - first) * pages_;
    const std::int64_t bits = 2 * kBackwardRows * most_partial_;  // words are two floats
    const std::int64_t worker =
        RoundUp(bits, kPanel) + std::max(arrays_.size, shape_.gradient_floats());
    float* workers = scratch_.Reserve(context_.pool().size() * worker);
    context_.pool().ForEach(tiles, [&](std::int64_t i, int w) {
      PackTile(first + i / pages_, i % pages_, workers + w * worker);
    });
    context_.pool().ForEach(std::ssize(parts), [&](std::int64_t i, int w) {
      RunPart(parts[i], workers + w * worker, workers + w * worker + RoundUp(bits, kPanel));
    });
    context_.pool().ForEach(tiles, [&](std::int64_t i, int w) {
      StoreTile(first + i / pages_, i % pages_, workers + w * worker);
    });
  }

  // --- packed keys ---

  // A tile is its keys, its values and its keys in panels, one after the other.
  float* PackedTile(const Head& head, std::int64_t tile) const {
    return head.packed + tile * shape_.tile_floats();
  }

  // `memory`: gradient_floats(), for a page in another order.
  void PackTile(std::size_t head, std::int64_t tile, float* memory) const {
    const auto rows = [&](const TensorRef<4>& tensor) {
      const auto index = static_cast<std::int64_t>(head);
      return order_ == nullptr
                 ? PageOf(tensor, index, tile)
                 : GatherPage(tensor, *order_, index, tile, reinterpret_cast<std::byte*>(memory));
    };
    float* to = PackedTile(heads_[head], tile);
    float* values = to + kPageKeys * shape_.key_dim;
    float* panels = values + kPageKeys * shape_.value_dim;
    const TensorRef<2> keys = rows(in_.forward.key);
    forward_kernels_.pack_keys(keys, to);
    forward_kernels_.pack_values(keys, kPageKeys * kPanel, panels);
    kernels_.keep_finite(kPageKeys * shape_.key_width(), panels);
    forward_kernels_.pack_keys(rows(in_.forward.value), values);
  }

  // -1 for a filler.
  std::int64_t TokenAt(std::int64_t place) const {
    return order_ == nullptr ? place : order_->tokens[place];
  }

  // --- a part ---

  void RunPart(const PartAt& at, float* bits, float* memory) {
    Head& head = heads_[at.head];
    BackwardPart& part = head.parts[at.part];
    float* gradients = head.gradients[at.part];
    std::fill_n(gradients, part.tiles.size() * shape_.gradient_floats(), 0.0f);
    for (const BackwardUnit& unit : part.units) {
      const HeadGroup& group = groups_[unit.group];
      const ScheduleItem& item = group.schedule->items()[unit.item];
      FillBits(*group.schedule, item, reinterpret_cast<std::uint64_t*>(bits));
      for (std::int64_t h = group.first_head; h < group.first_head + group.heads; ++h) {
        BackwardRows rows = Gather(group, h, item.rows, memory, part.dsinks[h % group_heads_]);
        std::fill_n(rows.dquery, rows.count * shape_.key_width(), 0.0f);
        Visit(head, part, *group.schedule, item, rows, gradients,
              reinterpret_cast<const std::uint64_t*>(bits), memory + arrays_.scratch);
        StoreQueries(group.batch, h, item.rows, rows.dquery);
      }
    }
  }

  // The bits of an item's partial tiles, one after the other; all its heads share them.
  static void FillBits(const Schedule& schedule, const ScheduleItem& item, std::uint64_t* bits) {
    for (const TileRun& run : schedule.runs(item)) {
      for (std::int64_t tile = run.begin; run.partial && tile < run.end; ++tile) {
        for (std::int64_t row = item.rows.begin; row < item.rows.end; ++row) {
          bits[row - item.rows.begin] =
              schedule.pattern().Bits(schedule.shape(), row, tile * kPageKeys);
        }
        bits += kBackwardRows;
      }
    }
  }

  void Visit(const Head& head, const BackwardPart& part, const Schedule& schedule,
             const ScheduleItem& item, const BackwardRows& rows, float* gradients,
             const std::uint64_t* bits, float* scratch) const {
    for (const TileRun& run : schedule.runs(item)) {
      for (std::int64_t tile = run.begin; tile < run.end; ++tile) {
        BackwardKeys keys{.keys = PackedTile(head, tile), .first_key = tile * kPageKeys};
        keys.values = keys.keys + kPageKeys * shape_.key_dim;
        keys.key_panels = keys.values + kPageKeys * shape_.value_dim;
        keys.dkey = gradients + (tile - part.tiles.begin) * shape_.gradient_floats();
        keys.dvalue = keys.dkey + kPageKeys * shape_.key_width();
        if (run.partial) {
          keys.bits = bits;
          bits += kBackwardRows;
        }
        kernels_.accumulate(shape_, rows, keys, scratch);
      }
    }
  }

  // Packs the rows of a head.
  BackwardRows Gather(const HeadGroup& group, std::int64_t head, Range tokens, float* memory,
                      double& dsink) const {
    const ScoreOps ops = ScoreOpsOf(options_, group.batch, head, tokens.begin);
    const double scale = ops.any() ? scale_ : scale_ * kLog2E;
    float* row = memory + arrays_.row;
    float* out_row = memory + arrays_.out_row;
    for (std::int64_t r = 0; r < tokens.size(); ++r) {
      const std::int64_t token = TokenAt(tokens.begin + r);
      const float lse = token < 0 ? -kInfinity : in_.lse(group.batch, head, token);
      const bool sees = lse != -kInfinity;
      Widen(in_.forward.query, group.batch, head, token, sees, row);
      forward_kernels_.pack_query(r, shape_.key_dim, row, scale, memory + arrays_.queries);
      kernels_.pack_panels(r, shape_.key_dim, row, memory + arrays_.query_panels);
      Widen(in_.dout, group.batch, head, token, sees, row);
      forward_kernels_.pack_query(r, shape_.value_dim, row, 1, memory + arrays_.douts);
      const bool finite =
          kernels_.pack_panels(r, shape_.value_dim, row, memory + arrays_.dout_panels);
      Widen(in_.out, group.batch, head, token, sees, out_row);
      const float delta = kernels_.dot(shape_.value_dim, row, out_row);
      memory[arrays_.delta + r] = delta;
      // Panels hold no NaN: the probabilities have to carry one to the values.
      memory[arrays_.lse + r] = !sees    ? kInfinity
                                : finite ? KernelLse(group, head, token, lse)
                                         : kNan;
      if (sees && !options_.sinks.empty()) {
        dsink -= std::exp(double{options_.sinks[head]} - lse) * delta;
      }
    }
    return {.count = tokens.size(),
            .first_position = group.schedule->shape().Position(tokens.begin),
            .ops = ops,
            .queries = memory + arrays_.queries,
            .query_panels = memory + arrays_.query_panels,
            .douts = memory + arrays_.douts,
            .dout_panels = memory + arrays_.dout_panels,
            .lse = memory + arrays_.lse,
            .delta = memory + arrays_.delta,
            .dquery = memory + arrays_.dquery};
  }

  // A row as floats; zeros for one that sees nothing.
  void Widen(const TensorRef<4>& tensor, std::int64_t batch, std::int64_t head, std::int64_t row,
             bool sees, float* to) const {
    if (!sees) {
      std::fill_n(to, tensor.shape[3], 0.0f);
    } else {
      forward_kernels_.widen(tensor.At(batch, head, row), tensor.type, tensor.strides[3],
                             tensor.shape[3], to);
    }
  }

  // lse as the kernel needs it: in units of log2, and without what ALiBi takes from all scores of a
  // row before the first key, which the kernel leaves out as well.
  float KernelLse(const HeadGroup& group, std::int64_t head, std::int64_t row, double lse) const {
    const std::int64_t position = group.schedule->shape().Position(row);
    if (!options_.alibi_slopes.empty() && position < 0) {
      lse += double{options_.alibi_slopes[head]} * static_cast<double>(-position);
    }
    return static_cast<float>(lse * kLog2E);
  }

  // --- results ---

  void StoreScaled(float* row, const MutableTensorRef<4>& tensor, std::byte* to) const {
    const auto scale = static_cast<float>(scale_);
    for (std::int64_t i = 0; i < shape_.key_dim; ++i) row[i] *= scale;
    StoreRow(row, shape_.key_dim, to, tensor.type, tensor.strides[3]);
  }

  void StoreQueries(std::int64_t batch, std::int64_t head, Range tokens, float* dquery) const {
    for (std::int64_t row = 0; row < tokens.size(); ++row) {
      const std::int64_t token = TokenAt(tokens.begin + row);
      if (token < 0) continue;
      StoreScaled(dquery + row * shape_.key_width(), out_.dquery,
                  out_.dquery.At(batch, head, token));
    }
  }

  // Adds up what the parts give to a tile of keys, in their order.
  void StoreTile(std::size_t index, std::int64_t tile, float* sum) const {
    const Head& head = heads_[index];
    std::fill_n(sum, shape_.gradient_floats(), 0.0f);
    for (std::size_t p = 0; p < head.parts.size(); ++p) {
      const Range tiles = head.parts[p].tiles;
      if (tile < tiles.begin || tile >= tiles.end) continue;
      const float* from = head.gradients[p] + (tile - tiles.begin) * shape_.gradient_floats();
      for (std::int64_t i = 0; i < shape_.gradient_floats(); ++i) sum[i] += from[i];
    }
    const auto batch = static_cast<std::int64_t>(index) / kv_heads_;
    const std::int64_t kv_head = static_cast<std::int64_t>(index) % kv_heads_;
    float* values = sum + kPageKeys * shape_.key_width();
    const std::int64_t first = tile * kPageKeys;
    const std::int64_t count = std::min(kPageKeys, keys_ - first);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t token = TokenAt(first + k);
      if (token < 0) continue;
      StoreScaled(sum + k * shape_.key_width(), out_.dkey, out_.dkey.At(batch, kv_head, token));
      StoreRow(values + k * shape_.value_width(), shape_.value_dim,
               out_.dvalue.At(batch, kv_head, token), out_.dvalue.type, out_.dvalue.strides[3]);
    }
  }

  void StoreSinks() const {
    if (out_.dsinks.data == nullptr) return;
    for (std::int64_t h = 0; h < out_.dsinks.shape[0]; ++h) {
      double sum = 0;
      for (std::size_t index = 0; index < heads_.size(); ++index) {
        if (static_cast<std::int64_t>(index) % kv_heads_ != h / group_heads_) continue;
        for (const BackwardPart& part : heads_[index].parts) sum += part.dsinks[h % group_heads_];
      }
      out_.dsinks(h) = static_cast<float>(sum);
    }
  }

  Context& context_;
  const AttentionBackwardInputs& in_;
  const AttentionOptions& options_;
  std::span<const HeadGroup> groups_;
  const TokenOrder* order_;  // of rows and keys; null: as they come
  AttentionScratch& scratch_;
  const AttentionGradients& out_;
  const AttentionKernels& forward_kernels_;
  const AttentionBackwardKernels& kernels_;
  BackwardShape shape_;
  RowArrays arrays_;
  double scale_;
  std::int64_t keys_;  // fillers included
  std::int64_t pages_;
  std::int64_t kv_heads_;
  std::int64_t group_heads_;
  std::int64_t most_partial_ = 0;
  std::vector<Head> heads_;
};

}  // namespace

void AttentionBackward(Context& context, const AttentionBackwardInputs& inputs,
                       const AttentionOptions& options, AttentionScratch& scratch,
                       const AttentionGradients& gradients) {
  CheckCall(inputs, options, gradients);
  const auto [batches, heads, queries, dim] = inputs.forward.query.shape;
  const auto [key_batches, kv_heads, keys, key_dim] = inputs.forward.key.shape;
  AttentionOptions used = options;
  used.bias = Broadcast(options.bias, {batches, heads, queries, keys});
  AttentionShape shape{queries, keys};
  const std::shared_ptr<const TokenOrder> order = OrderOf(used, shape, heads, scratch);
  if (order != nullptr) {  // from here on rows and keys are places
    used.pattern = order->pattern;
    used.head_patterns.clear();
    shape = {std::ssize(order->tokens), std::ssize(order->tokens)};
  }
  const std::vector<HeadGroup> groups =
      MakeGroups(used, shape, batches, heads, kv_heads, kBackwardRows, scratch);
  Backward(context, inputs, used, groups, order.get(), scratch, gradients).All();
}

}  // namespace foveate
