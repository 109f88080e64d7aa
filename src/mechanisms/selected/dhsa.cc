// DHSA, dynamic hierarchical sparse attention: keys are cut into chunks where they change, and each
// block of rows attends the chunks that score best, up to a budget of keys. Xiong et al. 2025,
// "Long-Context Modeling with Dynamic Hierarchical Sparse Attention for On-Device LLMs" (arXiv
// 2510.24606).
//
// A chunk stands for its keys by their sum over the square root of their number (norm=sqrt), a
// block of rows by its mean row; their product is the score of every key of the chunk: N / block_q
// times C products for C chunks. Borders come from kshift, which needs no training: a cut after key
// t is worth 1 - cos(mean of the b_window keys up to t, mean of the b_window keys behind it).
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention/row_ranges.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "base/throw.h"
#include "mechanisms/chunk_bounds.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

struct Options {
  explicit Options(const Params& params)
      : block_q(params.Integer("block_q")),
        budget(params.Integer("budget")),
        local(params.Integer("local")),
        global(params.Integer("global")),
        instructions(params.Integer("instr")),
        chunk(params.Integer("chunk")),
        b_window(params.Integer("b_window")),
        nms(params.Integer("nms")),
        share_all(params.Word("share") == "all"),
        square_root(params.Word("norm") == "sqrt") {
    if (params.Has("num_chunks")) num_chunks = params.Integer("num_chunks");
    if (params.Has("theta")) theta = params.Real("theta");
    if (params.Has("window")) window = params.Integer("window");
    uniform = std::holds_alternative<std::string>(params.Value("bounds")) &&
              params.Word("bounds") == "uniform";
    if (std::holds_alternative<IntegerList>(params.Value("bounds"))) {
      bounds = params.List("bounds");
      CheckBounds();
    }
    const std::int64_t forced = local + global;
    if (budget < forced || (window > 0 && window < forced)) {
      Throw(ErrorCode::kInvalidArgument,
            "dhsa: budget={}{} is less than local + global, {} keys that are always kept", budget,
            window > 0 ? " or window=" + std::to_string(window) : "", forced);
    }
  }

  std::int64_t block_q, budget, local, global, instructions, chunk, b_window, nms;
  bool share_all, square_root, uniform = false;
  std::int64_t num_chunks = 0;  // 0: one for every 12 keys
  std::optional<double> theta;
  std::int64_t window = 0;  // farthest key of a layer with a window; 0: none
  IntegerList bounds;       // empty: found

 private:
  void CheckBounds() const {
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (i == 0 ? bounds[0] == 0 : bounds[i] > bounds[i - 1]) continue;
      Throw(ErrorCode::kInvalidArgument, "dhsa: bounds[{}] is {}, expected {}", i, bounds[i],
            i == 0 ? "0" : "more than the one before");
    }
  }
};

// Sums of the keys of each chunk, and what the cuts are worth.
class Keys {
 public:
  Keys(Context& context, const SelectionInput& in) : in_(in), packed_(in.kv_heads) {
    for (std::int64_t head = 0; head < in.kv_heads; ++head) packed_[head].Pack(context, in, head);
  }

  // Of a cut after each key, NaN where a window would not fit.
  std::vector<double> Shifts(Context& context, std::int64_t width) const {
    const std::int64_t keys = in_.shape.keys, dim = in_.dim;
    std::vector<double> shifts(keys, std::numeric_limits<double>::quiet_NaN());
    const std::int64_t first = width - 1, end = keys - width;
    constexpr std::int64_t kBlock = 256;
    context.pool().ForEach(
        DivideUp(std::max<std::int64_t>(end - first, 0), kBlock), [&](std::int64_t block, int) {
          std::vector<float> key(dim);
          std::vector<double> before(dim), behind(dim);
          const std::int64_t stop = std::min(end, first + (block + 1) * kBlock);
          for (std::int64_t t = first + block * kBlock; t < stop; ++t) {
            double product = 0, before_square = 0, behind_square = 0;
            for (const PackedKeys& head : packed_) {
              Sum(head, {t - width + 1, t + 1}, key, before);
              Sum(head, {t + 1, t + 1 + width}, key, behind);
              for (std::int64_t d = 0; d < dim; ++d) {
                product += before[d] * behind[d];
                before_square += before[d] * before[d];
                behind_square += behind[d] * behind[d];
              }
            }
            const double norms = std::sqrt(before_square) * std::sqrt(behind_square);
            shifts[t] = 1 - (norms > 0 ? product / norms : 0);
          }
        });
    return shifts;
  }

  // What stands for the chunks, of KV heads [begin, end) on average: [chunks][D].
  std::vector<float> Chunks(Range heads, const std::vector<std::int64_t>& bounds,
                            bool square_root) const {
    const std::int64_t dim = in_.dim;
    std::vector<float> chunks((bounds.size() - 1) * dim), key(dim);
    std::vector<double> sum(dim), of_head(dim);
    for (std::size_t c = 0; c + 1 < bounds.size(); ++c) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (std::int64_t head = heads.begin; head < heads.end; ++head) {
        Sum(packed_[head], {bounds[c], bounds[c + 1]}, key, of_head);
        for (std::int64_t d = 0; d < dim; ++d) sum[d] += of_head[d];
      }
      const auto length = static_cast<double>(bounds[c + 1] - bounds[c]);
      const double divisor =
          (square_root ? std::sqrt(length) : length) * static_cast<double>(heads.size());
      for (std::int64_t d = 0; d < dim; ++d) {
        chunks[c * dim + d] = static_cast<float>(sum[d] / divisor);
      }
    }
    return chunks;
  }

 private:
  static void Sum(const PackedKeys& head, Range keys, std::vector<float>& key,
                  std::vector<double>& sum) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::int64_t at = keys.begin; at < keys.end; ++at) {
      head.Key(at, key.data());
      for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += key[d];
    }
  }

  const SelectionInput& in_;
  std::vector<PackedKeys> packed_;
};

// What a block of rows attends.
class Chooser {
 public:
  Chooser(const Options& options, const SelectionInput& in, const std::vector<std::int64_t>& bounds,
          const std::vector<float>& chunks, Range heads)
      : options_(options), in_(in), bounds_(bounds), chunks_(chunks), heads_(heads) {}

  Ranges Choose(Range rows) const {
    const std::int64_t first = in_.shape.Position(rows.begin);
    const std::int64_t end = std::clamp<std::int64_t>(first + options_.block_q, 0, in_.shape.keys);
    std::int64_t begin = 0, budget = options_.budget;
    if (options_.window > 0) {
      begin = std::max<std::int64_t>(0, first + options_.block_q - options_.window);
      budget = std::min(budget, options_.window);
    }
    if (end - begin <= budget) return Normalised({{begin, end}});
    const Range global{begin, begin + options_.global}, local{end - options_.local, end};
    const Range free{global.end, local.begin};
    Ranges keys = {global, local};
    budget -= options_.global + options_.local;
    for (const std::int64_t chunk : ByScore(rows, free)) {
      Range part = Intersect({bounds_[chunk], bounds_[chunk + 1]}, free);
      part.end = std::min(part.end, part.begin + budget);
      keys.push_back(part);
      budget -= part.size();
      if (budget == 0) break;
    }
    return Normalised(std::move(keys));
  }

 private:
  // Chunks that have keys within the range, the best first, of equal ones the first.
  std::vector<std::int64_t> ByScore(Range rows, Range free) const {
    const std::vector<double> row = MeanRow(rows);
    const std::int64_t first =
        std::upper_bound(bounds_.begin(), bounds_.end(), free.begin) - bounds_.begin() - 1;
    const std::int64_t end =
        std::lower_bound(bounds_.begin(), bounds_.end(), free.end) - bounds_.begin();
    std::vector<double> scores(end - first);
    for (std::int64_t chunk = first; chunk < end; ++chunk) {
      const float* vector = &chunks_[chunk * in_.dim];
      double score = 0;
      for (std::int64_t d = 0; d < in_.dim; ++d) score += row[d] * vector[d];
      scores[chunk - first] = score;
    }
    std::vector<std::int64_t> order(end - first);
    std::iota(order.begin(), order.end(), first);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return scores[a - first] > scores[b - first];
    });
    return order;
  }

  std::vector<double> MeanRow(Range rows) const {
    std::vector<double> mean(in_.dim);
    std::vector<float> query(in_.dim);
    for (std::int64_t head = heads_.begin; head < heads_.end; ++head) {
      for (std::int64_t row = rows.begin; row < rows.end; ++row) {
        in_.Query(head, row, query.data());
        for (std::int64_t d = 0; d < in_.dim; ++d) mean[d] += query[d];
      }
    }
    for (double& value : mean) value /= static_cast<double>(heads_.size() * rows.size());
    return mean;
  }

  const Options& options_;
  const SelectionInput& in_;
  const std::vector<std::int64_t>& bounds_;
  const std::vector<float>& chunks_;
  Range heads_;
};

class Dhsa final : public Selector {
 public:
  explicit Dhsa(const Params& params) : options_(params) {}

  std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                 State*) const override {
    const Keys keys(context, in);
    const std::vector<std::int64_t> bounds = Bounds(context, in, keys);
    const std::int64_t choices = options_.share_all ? 1 : in.kv_heads;
    const PatternPtr seen = Window(options_.window > 0 ? options_.window : -1, 0);
    std::vector<PatternPtr> patterns;
    for (std::int64_t choice = 0; choice < choices; ++choice) {
      const Range kv_heads = options_.share_all ? Range{0, in.kv_heads} : Range{choice, choice + 1};
      const Range heads{kv_heads.begin * in.group(), kv_heads.end * in.group()};
      const std::vector<float> chunks = keys.Chunks(kv_heads, bounds, options_.square_root);
      const Chooser chooser(options_, in, bounds, chunks, heads);
      patterns.insert(patterns.end(), heads.size(),
                      And(seen, MakeRowRanges(BlocksOf(context, in, chooser))));
    }
    return patterns;
  }

 private:
  std::vector<std::int64_t> Bounds(Context& context, const SelectionInput& in,
                                   const Keys& keys) const {
    const std::int64_t count = in.shape.keys;
    if (!options_.bounds.empty()) {
      if (options_.bounds.back() == count) return options_.bounds;
      Throw(ErrorCode::kInvalidArgument, "dhsa: bounds end at {}, but the call has {} keys",
            options_.bounds.back(), count);
    }
    if (options_.uniform) return UniformBounds(count, options_.chunk);
    const std::int64_t most =
        options_.num_chunks > 0 ? options_.num_chunks : std::max<std::int64_t>(1, count / 12);
    return PickBounds(keys.Shifts(context, options_.b_window),
                      {.most = most,
                       .distance = options_.nms,
                       .least = options_.theta,
                       .instructions = options_.instructions});
  }

  // The last rows of a prompt see everything.
  std::vector<RowBlockKeys> BlocksOf(Context& context, const SelectionInput& in,
                                     const Chooser& chooser) const {
    const std::int64_t sparse = std::max<std::int64_t>(0, in.shape.queries - options_.instructions);
    std::vector<RowBlockKeys> blocks(DivideUp(sparse, options_.block_q));
    context.pool().ForEach(std::ssize(blocks), [&](std::int64_t block, int) {
      const Range rows{block * options_.block_q, std::min((block + 1) * options_.block_q, sparse)};
      blocks[block] = {rows.end, chooser.Choose(rows)};
    });
    blocks.push_back({in.shape.queries, {{0, in.shape.keys}}});
    return blocks;
  }

  Options options_;
};

}  // namespace

Mechanism dhsa() {
  return {
      .name = "dhsa",
      .title = "Dynamic hierarchical sparse attention (DHSA)",
      .paper = "Xiong et al. 2025, arXiv 2510.24606",
      .formula = "j <= i and j is among the budget keys of the best chunks for the block of i",
      .cost = "N budget pairs, and N / block_q scores for each chunk",
      .use = "long prompts: follows the content, and keeps whole passages",
      .params =
          {{.key = "block_q", .help = "rows that share a choice", .fallback = "64", .least = 1},
           {.key = "budget", .help = "keys per choice", .fallback = "1024", .least = 1},
           {.key = "local", .help = "of them the newest", .fallback = "64"},
           {.key = "global", .help = "and the first", .fallback = "16"},
           {.key = "share",
            .type = ParamType::kWord,
            .help = "one choice for all heads, or for those of a KV head",
            .fallback = "kv",
            .words = {"all", "kv"}},
           {.key = "norm",
            .type = ParamType::kWord,
            .help = "what stands for a chunk: its sum over the root of its length, or its mean",
            .fallback = "sqrt",
            .words = {"sqrt", "mean"}},
           {.key = "instr", .help = "last rows, which see everything", .fallback = "64"},
           {.key = "bounds",
            .type = ParamType::kList,
            .help = "borders of the chunks: 0/../M, or how they are found",
            .fallback = "kshift",
            .words = {"kshift", "uniform"}},
           {.key = "chunk", .help = "keys of a uniform chunk", .fallback = "12", .least = 1},
           {.key = "b_window", .help = "keys that kshift compares", .fallback = "4", .least = 1},
           {.key = "num_chunks",
            .help = "most cuts of kshift; none: one for every 12 keys",
            .fallback = "none",
            .least = 1},
           {.key = "nms", .help = "cuts no farther apart are one", .fallback = "4"},
           {.key = "theta",
            .type = ParamType::kReal,
            .help = "what a cut is worth more than; none: any",
            .fallback = "none",
            .least = -1e9,
            .most = 1e9},
           {.key = "window",
            .help = "farthest key of a layer with a window; none: all",
            .fallback = "none",
            .least = 1}},
      .examples = {{"dhsa:block_q=16,bounds=uniform,chunk=11,instr=0,budget=40,local=16,global=4",
                    150, 150}},
      .by_row = false,
      .selector = [](const Params& params) -> SelectorPtr {
        return std::make_shared<Dhsa>(params);
      }};
}

}  // namespace foveate::mechanisms
