#include "attention/attention.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/throw.h"
#include "kernels/attention_kernels.h"

namespace foveate {
namespace {

// Rows of a block: enough that converting a page (as much work as 3 rows) hardly counts, few enough
// that scores and output stay in L2.
constexpr std::int64_t kBlockRows = 96;

// Work items per thread below which blocks are made smaller, so that threads end together.
constexpr std::int64_t kItemsPerThread = 4;

// Floats of a softmax state, and the state that lies in such memory.
std::int64_t StateSize(std::int64_t rows, std::int64_t width) {
  return RoundUp(RoundUp(rows, kRowStep) * width, kPanel) + 2 * RoundUp(rows, kPanel);
}
SoftmaxState StateAt(float* memory, std::int64_t rows) {
  const std::int64_t padded = RoundUp(rows, kPanel);
  return {.o = memory + 2 * padded, .m = memory, .d = memory + padded};
}

void ScaledCopy(float scale, std::int64_t count, const float* from, std::int64_t from_stride,
                float* to, std::int64_t to_stride) {
  if (from_stride == 1 && to_stride == 1) {  // the usual case, which compilers make vectors of
    for (std::int64_t i = 0; i < count; ++i) to[i] = scale * from[i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i * to_stride] = scale * from[i * from_stride];
  }
}

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// One call of Attend: the shapes, how rows are cut into blocks, and where memory lies.
class AttendCall {
 public:
  AttendCall(Context& context, const KvCache& cache, const View<const float, 3>& queries,
             const AttentionOptions& options, const View<float, 3>& out)
      : context_(context),
        cache_(cache),
        queries_(queries),
        options_(options),
        out_(out),
        kernels_(AttentionKernelsFor(context.isa())),
        tokens_(queries.shape[0]),
        kv_heads_(cache.options().kv_heads),
        group_(queries.shape[1] / kv_heads_),
        width_(cache.layout().value_width()),
        first_position_(cache.length() - tokens_) {
    const std::int64_t wanted = kItemsPerThread * context.pool().size();
    block_tokens_ = std::clamp<std::int64_t>(DivideUp(tokens_ * kv_heads_, wanted), 1,
                                             std::max<std::int64_t>(kBlockRows / group_, 1));
    if (tokens_ * group_ <= kDirectRows) block_tokens_ = tokens_;
    block_rows_ = std::min(tokens_, block_tokens_) * group_;
  }

  void Run(AttentionScratch& scratch) {
    const std::int64_t blocks = DivideUp(tokens_, block_tokens_);
    const std::int64_t threads = context_.pool().size();
    const bool split = threads > 1 && blocks == 1 && block_rows_ <= kDirectRows &&
                       Pieces(0, tokens_).end - Pieces(0, tokens_).begin > 1;
    if (split) {
      RunSplit(scratch);
      return;
    }
    float* memory = scratch.Reserve(threads * WorkerSize());
    context_.pool().ForEach(blocks * kv_heads_, [&](std::int64_t item, int worker) {
      // Last tokens first: they see the most keys.
      const std::int64_t first = (blocks - 1 - item / kv_heads_) * block_tokens_;
      const Range tokens{first, std::min(first + block_tokens_, tokens_)};
      AttendBlock(tokens, item % kv_heads_, memory + worker * WorkerSize());
    });
  }

 private:
  // Pieces that the queries of tokens [begin, end) see.
  Range Pieces(std::int64_t begin, std::int64_t end) const {
    const std::int64_t first = first_position_ + begin;
    const std::int64_t oldest =
        options_.window > 0 ? std::max<std::int64_t>(0, first - options_.window + 1) : 0;
    return {oldest / kPieceKeys, (first_position_ + end - 1) / kPieceKeys + 1};
  }

  // The most pieces that a call of this shape can see as the cache fills.
  std::int64_t MostPieces() const {
    const std::int64_t all = DivideUp(cache_.options().capacity, kPieceKeys);
    if (options_.window == 0 || options_.window > cache_.options().capacity) return all;
    return std::min(all, (options_.window + tokens_) / kPieceKeys + 2);
  }

  std::int64_t QuerySize() const {
    return RoundUp(RoundUp(block_rows_, kRowStep) * cache_.layout().key_dim, kPanel);
  }
  std::int64_t WorkerSize() const {
    return QuerySize() + RoundUp(PieceScratch(cache_.layout(), block_rows_), kPanel) +
           2 * StateSize(block_rows_, width_);
  }

  AttentionRows Gather(Range tokens, std::int64_t kv_head, float* to) const {
    const std::int64_t dim = cache_.layout().key_dim;
    const AttentionRows rows{.queries = to,
                             .count = (tokens.end - tokens.begin) * group_,
                             .group = group_,
                             .first_position = first_position_ + tokens.begin,
                             .window = options_.window,
                             .soft_cap = options_.soft_cap};
    for (std::int64_t row = 0; row < rows.count; ++row) {
      const float* from =
          &queries_(tokens.begin + row / group_, kv_head * group_ + row % group_, 0);
      ScaledCopy(options_.scale, dim, from, queries_.strides[2], to + row * dim, 1);
    }
    std::fill(to + rows.count * dim, to + RoundUp(rows.count, kRowStep) * dim, 0.0f);
    return rows;
  }

  // The pages of a piece that tokens of `rows` see.
  AttentionPiece PieceAt(std::int64_t piece, const AttentionRows& rows,
                         std::int64_t kv_head) const {
    const std::int64_t last = rows.first_position + (rows.count - 1) / group_;
    const std::int64_t oldest = options_.window > 0 ? rows.first_position - options_.window + 1 : 0;
    const std::int64_t begin =
        std::max(piece * kPiecePages, std::max<std::int64_t>(oldest, 0) / kPageKeys);
    const std::int64_t end = std::min((piece + 1) * kPiecePages, last / kPageKeys + 1);
    AttentionPiece pages{.pages = end - begin, .first_key = begin * kPageKeys};
    for (std::int64_t page = begin; page < end; ++page) {
      pages.keys[page - begin] = cache_.Keys(page, kv_head);
      pages.values[page - begin] = cache_.Values(page, kv_head);
    }
    return pages;
  }

  void AttendBlock(Range tokens, std::int64_t kv_head, float* memory) const {
    const AttentionRows rows = Gather(tokens, kv_head, memory);
    float* scratch = memory + QuerySize();
    float* states = scratch + RoundUp(PieceScratch(cache_.layout(), block_rows_), kPanel);
    const SoftmaxState total = StateAt(states, block_rows_);
    const SoftmaxState next = StateAt(states + StateSize(block_rows_, width_), block_rows_);
    const Range pieces = Pieces(tokens.begin, tokens.end);
    for (std::int64_t piece = pieces.begin; piece < pieces.end; ++piece) {
      const bool first = piece == pieces.begin;
      kernels_.attend(cache_.layout(), rows, PieceAt(piece, rows, kv_head), scratch,
                      first ? total : next);
      if (!first) kernels_.fold(rows.count, width_, next, total);
    }
    Finish(total, tokens, kv_head);
  }

  // Few rows: pieces side by side, then folded in order, as AttendBlock does one after the other.
  void RunSplit(AttentionScratch& scratch) const {
    const Range tokens{0, tokens_};
    const Range pieces = Pieces(0, tokens_);
    const std::int64_t state_size = StateSize(block_rows_, width_);
    const std::int64_t states_size = kv_heads_ * MostPieces() * state_size;
    float* states = scratch.Reserve(states_size + context_.pool().size() * WorkerSize());
    float* workers = states + states_size;
    const auto state_of = [&](std::int64_t kv_head, std::int64_t piece) {
      const std::int64_t index = kv_head * MostPieces() + piece - pieces.begin;
      return StateAt(states + index * state_size, block_rows_);
    };
    context_.pool().ForEach((pieces.end - pieces.begin) * kv_heads_,
                            [&](std::int64_t item, int worker) {
                              const std::int64_t kv_head = item % kv_heads_;
                              const std::int64_t piece = pieces.begin + item / kv_heads_;
                              float* memory = workers + worker * WorkerSize();
                              const AttentionRows rows = Gather(tokens, kv_head, memory);
                              kernels_.attend(cache_.layout(), rows, PieceAt(piece, rows, kv_head),
                                              memory + QuerySize(), state_of(kv_head, piece));
                            });
    for (std::int64_t kv_head = 0; kv_head < kv_heads_; ++kv_head) {
      const SoftmaxState total = state_of(kv_head, pieces.begin);
      for (std::int64_t piece = pieces.begin + 1; piece < pieces.end; ++piece) {
        kernels_.fold(block_rows_, width_, state_of(kv_head, piece), total);
      }
      Finish(total, tokens, kv_head);
    }
  }

  void Finish(const SoftmaxState& total, Range tokens, std::int64_t kv_head) const {
    const std::int64_t rows = (tokens.end - tokens.begin) * group_;
    kernels_.normalise(rows, width_, total);
    const std::int64_t dim = cache_.layout().value_dim;
    for (std::int64_t row = 0; row < rows; ++row) {
      float* to = &out_(tokens.begin + row / group_, kv_head * group_ + row % group_, 0);
      ScaledCopy(1.0f, dim, total.o + row * width_, 1, to, out_.strides[2]);
    }
  }

  Context& context_;
  const KvCache& cache_;
  const View<const float, 3>& queries_;
  const AttentionOptions& options_;
  const View<float, 3>& out_;
  const AttentionKernels& kernels_;
  std::int64_t tokens_;
  std::int64_t kv_heads_;
  std::int64_t group_;
  std::int64_t width_;  // Dv, padded
  std::int64_t first_position_;
  std::int64_t block_tokens_ = 1;
  std::int64_t block_rows_ = 1;
};

void Check(const KvCache& cache, const View<const float, 3>& queries,
           const AttentionOptions& options, const View<float, 3>& out) {
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
  if (!(options.soft_cap >= 0) || !std::isfinite(options.soft_cap) ||
      !std::isfinite(options.scale)) {
    Throw(ErrorCode::kInvalidArgument,
          "attention: soft cap {} and scale {}, expected a cap >= 0 and both finite",
          options.soft_cap, options.scale);
  }
  if (options.window < 0) {
    Throw(ErrorCode::kInvalidArgument, "attention: window {}, expected 0 (none) or more",
          options.window);
  }
  const std::int64_t first = cache.length() - tokens;
  const std::int64_t oldest =
      options.window > 0 ? std::max<std::int64_t>(0, first - options.window + 1) : 0;
  if (tokens > 0 && oldest < cache.first_kept()) {
    Throw(ErrorCode::kInvalidArgument,
          "attention: the query at position {} needs key {}, the cache keeps {} and on (its window "
          "is {}, the query's {})",
          first, oldest, cache.first_kept(), kv.window, options.window);
  }
}

}  // namespace

float* AttentionScratch::Reserve(std::int64_t count) {
  if (memory_.size() < count) memory_ = Buffer<float>(count);
  return memory_.data();
}

void Attend(Context& context, const KvCache& cache, View<const float, 3> queries,
            const AttentionOptions& options, AttentionScratch& scratch, View<float, 3> out) {
  Check(cache, queries, options, out);
  if (queries.shape[0] == 0) return;
  AttendCall(context, cache, queries, options, out).Run(scratch);
}

}  // namespace foveate
