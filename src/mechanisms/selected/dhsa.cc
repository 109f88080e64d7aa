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
#include "mechanisms/top_scores.h"

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
        refresh(params.Integer("refresh")),
        decode_chunk(params.Integer("decode_chunk")),
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
  std::int64_t refresh, decode_chunk;
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

// The keys of a sequence in chunks; decoding appends to it.
struct Chunks final : Selector::State {
  std::vector<std::int64_t> bounds{0};    // first keys of the chunks, and the number of keys
  std::vector<std::vector<double>> sums;  // [Hkv][chunks * D], of the keys of each chunk
  bool open = false;                      // the last chunk began in decoding and grows
  std::int64_t chosen_from = 0;           // keys that there were at the last choice
  std::vector<Ranges> chosen;             // of each set of heads that share a choice

  std::int64_t keys() const { return bounds.back(); }

  // What stands for the chunks, of KV heads [begin, end) on average: [chunks][D].
  std::vector<float> Vectors(Range heads, std::int64_t dim, bool square_root) const {
    std::vector<float> vectors((bounds.size() - 1) * dim);
    for (std::size_t c = 0; c + 1 < bounds.size(); ++c) {
      const auto length = static_cast<double>(bounds[c + 1] - bounds[c]);
      const double divisor =
          (square_root ? std::sqrt(length) : length) * static_cast<double>(heads.size());
      for (std::int64_t d = 0; d < dim; ++d) {
        double sum = 0;
        for (std::int64_t head = heads.begin; head < heads.end; ++head) {
          sum += sums[head][c * dim + d];
        }
        vectors[c * dim + d] = static_cast<float>(sum / divisor);
      }
    }
    return vectors;
  }

  // Takes the last key, which is new, into the last chunk or a chunk of its own.
  void Append(const SelectionInput& in, std::int64_t most) {
    const std::int64_t key = in.shape.keys - 1, dim = in.dim;
    const bool joins = open && key - bounds[bounds.size() - 2] < most;
    if (joins) {
      bounds.back() = key + 1;
    } else {
      bounds.push_back(key + 1);
      open = true;
    }
    Buffer<float> page(kPageKeys * dim);
    sums.resize(in.kv_heads);
    for (std::int64_t head = 0; head < in.kv_heads; ++head) {
      std::vector<double>& of_head = sums[head];
      of_head.resize((bounds.size() - 1) * dim);
      in.PackKeys(head, key / kPageKeys, page.data());
      AddKey(page.data(), key % kPageKeys, dim, &of_head[of_head.size() - dim]);
    }
  }
};

// Every key of a call.
class Keys {
 public:
  Keys(Context& context, const SelectionInput& in)
      : context_(context), in_(in), packed_(in.kv_heads) {
    for (std::int64_t head = 0; head < in.kv_heads; ++head) packed_[head].Pack(context, in, head);
  }

  // What a cut after each key is worth, NaN where a window would not fit.
  std::vector<double> Shifts(std::int64_t width) const {
    const std::int64_t keys = in_.shape.keys;
    std::vector<double> shifts(keys, std::numeric_limits<double>::quiet_NaN());
    const std::int64_t first = width - 1, end = keys - width;
    constexpr std::int64_t kBlock = 256;
    context_.pool().ForEach(DivideUp(std::max<std::int64_t>(end - first, 0), kBlock),
                            [&](std::int64_t block, int) {
                              const std::int64_t stop = std::min(end, first + (block + 1) * kBlock);
                              for (std::int64_t t = first + block * kBlock; t < stop; ++t)
                                shifts[t] = Shift(t, width);
                            });
    return shifts;
  }

  // [Hkv][chunks * D]
  std::vector<std::vector<double>> Sums(const std::vector<std::int64_t>& bounds) const {
    std::vector<std::vector<double>> sums(packed_.size());
    context_.pool().ForEach(std::ssize(packed_), [&](std::int64_t head, int) {
      for (std::size_t c = 0; c + 1 < bounds.size(); ++c) {
        const std::vector<double> sum = Sum(packed_[head], {bounds[c], bounds[c + 1]});
        sums[head].insert(sums[head].end(), sum.begin(), sum.end());
      }
    });
    return sums;
  }

 private:
  // 1 - cos of the keys around the cut after key t, those of all KV heads end to end.
  double Shift(std::int64_t t, std::int64_t width) const {
    double product = 0, before_square = 0, behind_square = 0;
    for (const PackedKeys& head : packed_) {
      const std::vector<double> before = Sum(head, {t - width + 1, t + 1});
      const std::vector<double> behind = Sum(head, {t + 1, t + 1 + width});
      for (std::int64_t d = 0; d < in_.dim; ++d) {
        product += before[d] * behind[d];
        before_square += before[d] * before[d];
        behind_square += behind[d] * behind[d];
      }
    }
    const double norms = std::sqrt(before_square) * std::sqrt(behind_square);
    return 1 - (norms > 0 ? product / norms : 0);
  }

  std::vector<double> Sum(const PackedKeys& head, Range keys) const {
    std::vector<double> sum(in_.dim);
    for (std::int64_t key = keys.begin; key < keys.end; ++key) {
      AddKey(head.Panel(0), key, in_.dim, sum.data());
    }
    return sum;
  }

  Context& context_;
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
      scores[chunk - first] = Ranked(score);
    }
    std::vector<std::int64_t> order(end - first);
    std::iota(order.begin(), order.end(), first);
    std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      const double of_a = scores[a - first], of_b = scores[b - first];
      return of_a != of_b ? of_a > of_b : a < b;
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

  std::unique_ptr<State> NewState() const override { return std::make_unique<Chunks>(); }

  std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                 State* state) const override {
    Chunks own;
    Chunks& chunks = state != nullptr ? *static_cast<Chunks*>(state) : own;
    if (state != nullptr && in.shape.queries == 1 && chunks.keys() + 1 == in.shape.keys) {
      return Decode(in, chunks);
    }
    const Keys keys(context, in);
    chunks.bounds = Bounds(in, keys);
    chunks.sums = keys.Sums(chunks.bounds);
    chunks.open = false;
    chunks.chosen.clear();
    std::vector<PatternPtr> patterns;
    ForEachChoice(in, [&](Range kv_heads, Range heads) {
      const std::vector<float> vectors = chunks.Vectors(kv_heads, in.dim, options_.square_root);
      const Chooser chooser(options_, in, chunks.bounds, vectors, heads);
      patterns.insert(patterns.end(), heads.size(),
                      And(Seen(), MakeRowRanges(BlocksOf(context, in, chooser))));
    });
    return patterns;
  }

 private:
  PatternPtr Seen() const { return Window(options_.window > 0 ? options_.window : -1, 0); }

  // Calls visit(KV heads, query heads) for each set of heads that share a choice.
  template <typename Visit>
  void ForEachChoice(const SelectionInput& in, const Visit& visit) const {
    const std::int64_t shared = options_.share_all ? in.kv_heads : 1;
    for (std::int64_t first = 0; first < in.kv_heads; first += shared) {
      visit(Range{first, first + shared}, Range{first * in.group(), (first + shared) * in.group()});
    }
  }

  // A choice serves `refresh` tokens, which see each other.
  std::vector<PatternPtr> Decode(const SelectionInput& in, Chunks& chunks) const {
    chunks.Append(in, options_.decode_chunk);
    if (chunks.chosen.empty() || in.shape.keys - chunks.chosen_from >= options_.refresh) {
      chunks.chosen_from = in.shape.keys;
      chunks.chosen.clear();
      ForEachChoice(in, [&](Range kv_heads, Range heads) {
        const std::vector<float> vectors = chunks.Vectors(kv_heads, in.dim, options_.square_root);
        chunks.chosen.push_back(
            Chooser(options_, in, chunks.bounds, vectors, heads).Choose({0, 1}));
      });
    }
    std::vector<PatternPtr> patterns;
    for (const Ranges& chosen : chunks.chosen) {
      const Ranges keys = Union(chosen, Normalised({{chunks.chosen_from, in.shape.keys}}));
      patterns.insert(patterns.end(), in.heads / std::ssize(chunks.chosen),
                      And(Seen(), MakeRowRanges({{1, keys}})));
    }
    return patterns;
  }

  std::vector<std::int64_t> Bounds(const SelectionInput& in, const Keys& keys) const {
    const std::int64_t count = in.shape.keys;
    if (!options_.bounds.empty()) {
      if (options_.bounds.back() == count) return options_.bounds;
      Throw(ErrorCode::kInvalidArgument, "dhsa: bounds end at {}, but the call has {} keys",
            options_.bounds.back(), count);
    }
    if (options_.uniform) return UniformBounds(count, options_.chunk);
    const std::int64_t most =
        options_.num_chunks > 0 ? options_.num_chunks : std::max<std::int64_t>(1, count / 12);
    return PickBounds(keys.Shifts(options_.b_window), {.most = most,
                                                       .distance = options_.nms,
                                                       .least = options_.theta,
                                                       .instructions = Instructions(in)});
  }

  // Of the last call of a prompt only.
  std::int64_t Instructions(const SelectionInput& in) const {
    return in.more_follows ? 0 : options_.instructions;
  }

  // The last rows of a prompt see everything.
  std::vector<RowBlockKeys> BlocksOf(Context& context, const SelectionInput& in,
                                     const Chooser& chooser) const {
    const std::int64_t sparse = std::max<std::int64_t>(0, in.shape.queries - Instructions(in));
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
            .least = 1},
           {.key = "refresh", .help = "decoded tokens per choice", .fallback = "8", .least = 1},
           {.key = "decode_chunk",
            .help = "keys of a chunk of decoded tokens",
            .fallback = "16",
            .least = 1}},
      .examples = {{"dhsa:block_q=16,bounds=uniform,chunk=11,instr=0,budget=40,local=16,global=4",
                    150, 150}},
      .selector = [](const Params& params) -> SelectorPtr {
        return std::make_shared<Dhsa>(params);
      }};
}

}  // namespace foveate::mechanisms
