// DHSA, dynamic hierarchical sparse attention: keys are cut into chunks where they change, and each
// block of rows attends the chunks that score best, up to a budget of keys. Xiong et al. 2025,
// "Long-Context Modeling with Dynamic Hierarchical Sparse Attention for On-Device LLMs" (arXiv
// 2510.24606).
//
// A chunk stands for its keys by their sum over the square root of their number (norm=sqrt), a
// block of rows by its mean row; their product is the score of every key of the chunk: N / block_q
// times C products for C chunks. Borders come from kshift, which needs no training: a cut after key
// t is worth 1 - cos(mean of the b_window keys up to t, mean of the b_window keys behind it); or
// from a trained predictor, whose logit is what a cut is worth.
//
// A prompt that comes in parts is cut part by part: only the last chunk of the part before is cut
// anew, so that each part costs what its own keys cost.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention/row_ranges.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "base/throw.h"
#include "mechanisms/boundary_predictor.h"
#include "mechanisms/chunk_bounds.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/top_scores.h"

namespace foveate::mechanisms {
namespace {

constexpr double kPredictorTheta = 1.1;  // of the paper

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
    if (std::holds_alternative<IntegerList>(params.Value("bounds"))) {
      bounds = params.List("bounds");
      CheckBounds();
    } else {
      uniform = params.Word("bounds") == "uniform";
    }
    LoadPredictor(params);
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
  std::shared_ptr<const BoundaryPredictor> predictor;  // null: none finds them

 private:
  void LoadPredictor(const Params& params) {
    const bool wanted = bounds.empty() && params.Word("bounds") == "predictor";
    const bool given = params.Has("predictor");
    if (wanted != given) {
      Throw(ErrorCode::kInvalidArgument, "dhsa: {}",
            wanted ? "bounds=predictor needs predictor=FILE, the weights of a trained one"
                   : "predictor=" + params.Word("predictor") + " needs bounds=predictor");
    }
    if (!wanted) return;
    predictor =
        std::make_shared<const BoundaryPredictor>(SafetensorsFile::Open(params.Word("predictor")));
    b_window = predictor->window();
    if (!theta) theta = kPredictorTheta;
  }

  void CheckBounds() const {
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (i == 0 ? bounds[0] == 0 : bounds[i] > bounds[i - 1]) continue;
      Throw(ErrorCode::kInvalidArgument, "dhsa: bounds[{}] is {}, expected {}", i, bounds[i],
            i == 0 ? "0" : "more than the one before");
    }
  }
};

// The keys of a sequence in chunks, which grow with it.
struct Chunks final : Selector::State {
  std::vector<std::int64_t> bounds{0};  // first keys of the chunks, and the number of keys
  std::vector<float> sums;              // [chunks][Hkv * D], of the keys of each chunk
  bool open = false;                    // the last chunk began in decoding and grows
  std::int64_t chosen_from = 0;         // keys that there were at the last choice
  std::vector<Ranges> chosen;           // of each set of heads that share a choice

  std::int64_t keys() const { return bounds.back(); }
  std::int64_t count() const { return std::ssize(bounds) - 1; }

  void Clear() { *this = {}; }
  void DropLast(std::int64_t width) {
    bounds.pop_back();
    if (bounds.empty()) bounds = {0};
    sums.resize(count() * width);
  }

  // What stands for the chunks, of KV heads [begin, end) on average: [D][chunks].
  std::vector<float> Vectors(Range heads, std::int64_t dim, bool square_root) const {
    std::vector<float> vectors(count() * dim);
    const std::int64_t width = count() == 0 ? 0 : std::ssize(sums) / count();
    for (std::int64_t c = 0; c < count(); ++c) {
      const auto length = static_cast<double>(bounds[c + 1] - bounds[c]);
      const double divisor =
          (square_root ? std::sqrt(length) : length) * static_cast<double>(heads.size());
      const float* of_chunk = &sums[c * width];
      for (std::int64_t d = 0; d < dim; ++d) {
        double sum = 0;
        for (std::int64_t head = heads.begin; head < heads.end; ++head) {
          sum += of_chunk[head * dim + d];
        }
        vectors[d * count() + c] = static_cast<float>(sum / divisor);
      }
    }
    return vectors;
  }

  // Takes the last key, which is new, into the last chunk or a chunk of its own.
  void Append(const SelectionInput& in, std::int64_t most) {
    const std::int64_t key = in.shape.keys - 1, dim = in.dim, width = in.kv_heads * dim;
    const bool joins = open && key - bounds[bounds.size() - 2] < most;
    if (joins) {
      bounds.back() = key + 1;
    } else {
      bounds.push_back(key + 1);
      open = true;
    }
    sums.resize(count() * width);
    Buffer<float> page(kPageKeys * dim);
    for (std::int64_t head = 0; head < in.kv_heads; ++head) {
      in.PackKeys(head, key / kPageKeys, page.data());
      AddKey(page.data(), key % kPageKeys, dim, &sums[(count() - 1) * width + head * dim]);
    }
  }
};

// The last keys of a call, those of all KV heads end to end.
class KeyRows {
 public:
  // Those from `first` on, and perhaps some before.
  KeyRows(Context& context, const SelectionInput& in, std::int64_t first)
      : context_(context), first_page_(first / kPageKeys), width_(in.kv_heads * in.dim) {
    const std::int64_t pages = in.pages() - first_page_;
    rows_ = Buffer<float>(std::max<std::int64_t>(0, pages) * kPageKeys * width_);
    std::vector<Buffer<float>> memory(context.pool().size());
    context.pool().ForEach(pages, [&](std::int64_t page, int worker) {
      Buffer<float>& panels = memory[worker];
      if (panels.size() == 0) panels = Buffer<float>(kPageKeys * in.dim);
      for (std::int64_t head = 0; head < in.kv_heads; ++head) {
        in.PackKeys(head, first_page_ + page, panels.data());
        float* to = &rows_[page * kPageKeys * width_ + head * in.dim];
        for (std::int64_t key = 0; key < kPageKeys; ++key) {
          const float* from = panels.data() + key / kPanel * kPanel * in.dim + key % kPanel;
          for (std::int64_t d = 0; d < in.dim; ++d) to[key * width_ + d] = from[d * kPanel];
        }
      }
    });
  }

  std::int64_t width() const { return width_; }

  // What cuts after the keys of a range are worth, NaN where a window of `width` keys does not fit
  // into [0, keys).
  std::vector<double> Shifts(Range range, std::int64_t width, std::int64_t keys) const {
    std::vector<double> shifts = NoCuts(range);
    const Range cuts = Fitting(range, width, keys);
    constexpr std::int64_t kBlock = 32;
    context_.pool().ForEach(DivideUp(cuts.size(), kBlock), [&](std::int64_t block, int) {
      const std::int64_t first = cuts.begin + block * kBlock;
      const std::int64_t end = std::min(cuts.end, first + kBlock);
      std::vector<double> before(width_), behind(width_);
      for (std::int64_t t = first; t < end; ++t) {
        Sum({t - width + 1, t + 1}, before.data());
        Sum({t + 1, t + 1 + width}, behind.data());
        shifts[t - range.begin] = 1 - Cosine(before, behind);
      }
    });
    return shifts;
  }

  // The same by a predictor.
  std::vector<double> Logits(const BoundaryPredictor& predictor, Range range,
                             std::int64_t keys) const {
    std::vector<double> logits = NoCuts(range);
    const std::int64_t before = predictor.window() - 1;
    const Range cuts = Fitting(range, predictor.window(), keys);
    if (cuts.empty()) return logits;
    const Range seen{cuts.begin - before, cuts.end + predictor.window()};
    const std::vector<float> of_seen =
        predictor.Logits(context_, MakeView(Row(seen.begin), seen.size(), width_));
    std::copy_n(&of_seen[before], cuts.size(), &logits[cuts.begin - range.begin]);
    return logits;
  }

  // The sum of keys, [Hkv * D].
  void Sum(Range keys, double* sum) const {
    std::fill_n(sum, width_, 0.0);
    for (std::int64_t key = keys.begin; key < keys.end; ++key) {
      const float* row = Row(key);
      for (std::int64_t d = 0; d < width_; ++d) sum[d] += row[d];
    }
  }

 private:
  const float* Row(std::int64_t key) const {
    return &rows_[(key - first_page_ * kPageKeys) * width_];
  }

  static std::vector<double> NoCuts(Range range) {
    return std::vector<double>(range.size(), std::numeric_limits<double>::quiet_NaN());
  }

  // The keys of a range that have `width` keys up to them and as many behind.
  static Range Fitting(Range range, std::int64_t width, std::int64_t keys) {
    return Intersect(range, {width - 1, keys - width});
  }

  static double Cosine(const std::vector<double>& a, const std::vector<double>& b) {
    double product = 0, of_a = 0, of_b = 0;
    for (std::size_t d = 0; d < a.size(); ++d) {
      product += a[d] * b[d];
      of_a += a[d] * a[d];
      of_b += b[d] * b[d];
    }
    const double norms = std::sqrt(of_a) * std::sqrt(of_b);
    return norms > 0 ? product / norms : 0;
  }

  Context& context_;
  std::int64_t first_page_, width_;
  Buffer<float> rows_;  // [keys][Hkv * D]
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
    AddBest(rows, free, budget - options_.global - options_.local, keys);
    return Normalised(std::move(keys));
  }

 private:
  // Adds the keys of the best chunks within a range, of equal ones the first, up to a budget.
  void AddBest(Range rows, Range free, std::int64_t budget, Ranges& keys) const {
    const std::int64_t first =
        std::upper_bound(bounds_.begin(), bounds_.end(), free.begin) - bounds_.begin() - 1;
    const std::int64_t end =
        std::lower_bound(bounds_.begin(), bounds_.end(), free.end) - bounds_.begin();
    const std::vector<double> scores = Scores(rows, {first, end});
    std::vector<std::int64_t> heap(end - first);
    std::iota(heap.begin(), heap.end(), first);
    const auto is_worse = [&](std::int64_t a, std::int64_t b) {
      const double of_a = scores[a - first], of_b = scores[b - first];
      return of_a != of_b ? of_a < of_b : a > b;
    };
    std::make_heap(heap.begin(), heap.end(), is_worse);  // few of them are taken
    while (budget > 0 && !heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), is_worse);
      const std::int64_t chunk = heap.back();
      heap.pop_back();
      Range part = Intersect({bounds_[chunk], bounds_[chunk + 1]}, free);
      part.end = std::min(part.end, part.begin + budget);
      keys.push_back(part);
      budget -= part.size();
    }
  }

  std::vector<double> Scores(Range rows, Range chunks) const {
    const std::vector<double> row = MeanRow(rows);
    const std::int64_t stride = std::ssize(bounds_) - 1;
    std::vector<double> scores(chunks.size());
    for (std::int64_t d = 0; d < in_.dim; ++d) {
      const float* vectors = &chunks_[d * stride + chunks.begin];
      for (std::int64_t c = 0; c < chunks.size(); ++c) scores[c] += row[d] * vectors[c];
    }
    for (double& score : scores) score = Ranked(score);
    in_.products += std::ssize(scores);
    return scores;
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
    Extend(context, in, chunks);
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

  // Cuts the keys of a call into chunks; those that there were stay, but for the last.
  void Extend(Context& context, const SelectionInput& in, Chunks& chunks) const {
    const bool follows = chunks.keys() + in.shape.queries == in.shape.keys;
    if (!follows || !options_.bounds.empty()) chunks.Clear();
    chunks.DropLast(in.kv_heads * in.dim);
    chunks.open = false;
    chunks.chosen.clear();
    const std::int64_t first = chunks.keys();
    const KeyRows keys(context, in, std::max<std::int64_t>(0, first - options_.b_window));
    const std::vector<std::int64_t> bounds = NewBounds(in, keys, first, chunks.count());
    // Room for them and no more: of all that is kept beside the cache this is the most.
    chunks.sums.reserve((chunks.count() + std::ssize(bounds)) * keys.width());
    std::vector<double> sum(keys.width());
    for (const std::int64_t bound : bounds) {
      const Range chunk{chunks.keys(), first + bound};
      if (chunk.empty()) continue;
      chunks.bounds.push_back(chunk.end);
      keys.Sum(chunk, sum.data());
      chunks.sums.insert(chunks.sums.end(), sum.begin(), sum.end());
    }
  }

  // Borders of the keys from `first` on, counted from there; `cuts` were made before.
  std::vector<std::int64_t> NewBounds(const SelectionInput& in, const KeyRows& keys,
                                      std::int64_t first, std::int64_t cuts) const {
    const std::int64_t count = in.shape.keys;
    if (!options_.bounds.empty()) {
      if (options_.bounds.back() == count) return options_.bounds;
      Throw(ErrorCode::kInvalidArgument, "dhsa: bounds end at {}, but the call has {} keys",
            options_.bounds.back(), count);
    }
    if (options_.uniform) return UniformBounds(count - first, options_.chunk);
    const std::int64_t most = options_.num_chunks > 0 ? options_.num_chunks : count / 12;
    return PickBounds(options_.predictor != nullptr
                          ? keys.Logits(*options_.predictor, {first, count}, count)
                          : keys.Shifts({first, count}, options_.b_window, count),
                      {.most = std::max<std::int64_t>(1, most - cuts),
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
            .words = {"kshift", "uniform", "predictor"}},
           {.key = "predictor",
            .type = ParamType::kFile,
            .help = "weights of the predictor, a safetensors file",
            .fallback = "none"},
           {.key = "chunk", .help = "keys of a uniform chunk", .fallback = "12", .least = 1},
           {.key = "b_window",
            .help = "keys that kshift compares; a predictor has its own",
            .fallback = "4",
            .least = 1},
           {.key = "num_chunks",
            .help = "most cuts that are found; none: one for every 12 keys",
            .fallback = "none",
            .least = 1},
           {.key = "nms", .help = "cuts no farther apart are one", .fallback = "4"},
           {.key = "theta",
            .type = ParamType::kReal,
            .help = "what a cut is worth more than; none: any, of a predictor 1.1",
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
