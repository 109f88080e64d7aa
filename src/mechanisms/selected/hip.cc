// HiP, hierarchically pruned attention: each block of rows searches the keys it attends, by
// halving. Lee et al. 2024, "A Training-Free Sub-Quadratic Cost Transformer Model Serving Framework
// with Hierarchically Pruned Attention" (arXiv 2406.09827); rules of its version 1.1.
//
// The candidates, all keys between the sinks and the window, are cut into n = mask_k / block_k
// groups of blocks. Round by round every group is halved, each half is scored by one block of it
// (the largest q k over every stride_q-th row), and the n best halves stay, until they are single
// blocks: 2 n block_k (block_q / stride_q) products a round, log2(T / mask_k) rounds, so O(T log T)
// in all. That finds what is large where neighbouring keys are alike, which rotated keys mostly
// are.
//
// A choice of 16 keys a block costs the operator no more than its own keys; smaller blocks leave
// panels of 16 half empty, in the search as in the attention.
#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "attention/row_ranges.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "base/throw.h"
#include "kernels/attention_kernels.h"
#include "kernels/tile_products.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

enum class Representative { kCenter, kFirst, kLast };

struct Options {
  explicit Options(const Params& params)
      : mask_k(params.Integer("mask_k")),
        block_q(params.Integer("block_q")),
        block_k(params.Integer("block_k")),
        stride_q(params.Integer("stride_q")),
        sink(params.Integer("sink")),
        window(params.Integer("window")),
        refresh(params.Integer("refresh")),
        group_share(params.Bool("group_share")),
        representative(params.Word("rep") == "center"  ? Representative::kCenter
                       : params.Word("rep") == "first" ? Representative::kFirst
                                                       : Representative::kLast) {
    CheckMultiple("mask_k", mask_k);
    CheckMultiple("sink", sink);
  }

  // Candidate blocks of a row at a position: between the sinks and its window.
  std::int64_t Blocks(std::int64_t position) const {
    return DivideUp(std::max<std::int64_t>(0, position + 1 - window - sink), block_k);
  }
  std::int64_t Kept() const { return mask_k / block_k; }

  std::int64_t mask_k, block_q, block_k, stride_q, sink, window, refresh;
  bool group_share;
  Representative representative;

 private:
  void CheckMultiple(const char* key, std::int64_t value) const {
    if (value % block_k == 0) return;
    Throw(ErrorCode::kInvalidArgument, "hip: {}={} is no multiple of block_k={}; {} would be", key,
          value, block_k, RoundUp(value, block_k));
  }
};

// Candidate blocks [start, start + size), and the score of the one that stands for them.
struct Group {
  std::int64_t start = 0, size = 0;
  float score = 0;
  bool scored = false;
};

// The search of one block of rows, of one head or of those that share a choice.
class Search {
 public:
  Search(const Options& options, const SelectionInput& in, const PackedKeys& keys, Isa isa)
      : options_(options),
        in_(in),
        keys_(keys),
        kernels_(AttentionKernelsFor(isa)),
        products_(TileProductsFor(isa)) {}

  // Chosen candidate blocks, in order, of rows [rows.begin, rows.end).
  std::vector<std::int64_t> Run(Range heads, Range rows) {
    const std::int64_t blocks = options_.Blocks(in_.shape.Position(rows.end - 1));
    const std::int64_t count = options_.Kept();
    std::vector<std::int64_t> starts;
    if (blocks <= count) {
      starts.resize(blocks);
      std::iota(starts.begin(), starts.end(), 0);
      return starts;
    }
    PackRows(heads, rows);
    groups_.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t start = blocks * i / count;
      groups_.push_back({start, blocks * (i + 1) / count - start});
    }
    while (std::any_of(groups_.begin(), groups_.end(), [](const Group& g) { return g.size > 1; })) {
      Halve();
      KeepBest(count);
    }
    for (const Group& group : groups_) starts.push_back(group.start);
    std::sort(starts.begin(), starts.end());
    in_.products += std::exchange(products_made_, 0);
    return starts;
  }

 private:
  // Every stride-th row, or the last one; of all heads.
  void PackRows(Range heads, Range rows) {
    sampled_.clear();
    for (std::int64_t row = rows.begin + options_.stride_q - 1; row < rows.end;
         row += options_.stride_q) {
      sampled_.push_back(row);
    }
    if (sampled_.empty()) sampled_.push_back(rows.end - 1);
    const std::int64_t count = std::ssize(sampled_) * heads.size();
    row_.resize(in_.dim);
    packed_.resize(RoundUp(count, kRowStep) * in_.dim);
    scores_.resize(RoundUp(count, kRowStep) * kPanel);
    hidden_.resize(count);
    limits_.clear();
    for (std::int64_t head = heads.begin; head < heads.end; ++head) {
      for (const std::int64_t row : sampled_) {
        in_.Query(head, row, row_.data());
        kernels_.pack_query(std::ssize(limits_), in_.dim, row_.data(), 1, packed_.data());
        limits_.push_back(in_.shape.Position(row) - options_.window);
      }
    }
  }

  void Halve() {
    halves_.clear();
    for (const Group& group : groups_) {
      const std::int64_t half = group.size / 2;
      if (half == 0) {
        halves_.push_back(group);
        continue;
      }
      halves_.push_back({group.start, half});
      halves_.push_back({group.start + half, group.size - half});
    }
    for (Group& group : halves_) {
      if (!group.scored) group.score = Score(StandFor(group));
      group.scored = group.size == 1;  // it will stand for itself again
    }
  }

  void KeepBest(std::int64_t count) {
    groups_.swap(halves_);
    if (std::ssize(groups_) <= count) return;
    std::nth_element(groups_.begin(), groups_.begin() + count - 1, groups_.end(),
                     [](const Group& a, const Group& b) {
                       return a.score != b.score ? a.score > b.score : a.start < b.start;
                     });
    groups_.resize(count);
  }

  std::int64_t StandFor(const Group& group) const {
    switch (options_.representative) {
      case Representative::kCenter: return group.start + group.size / 2;
      case Representative::kFirst: return group.start;
      case Representative::kLast: return group.start + group.size - 1;
    }
    return group.start;
  }

  // The largest product of a row with a key of the block, of keys before the row's window.
  float Score(std::int64_t block) {
    const std::int64_t first = options_.sink + block * options_.block_k;
    const std::int64_t end = std::min(first + options_.block_k, limits_.back() + 1);
    const auto rows = std::ssize(limits_);
    float largest = kNone;
    for (std::int64_t panel = first / kPanel; panel * kPanel < end; ++panel) {
      products_made_ += rows * kPanel;
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t stop = std::min(end, limits_[r] + 1);
        hidden_[r] = ~LanesBelow(stop - panel * kPanel) | LanesBelow(first - panel * kPanel);
      }
      largest =
          std::max(largest, products_.panel_best(rows, in_.dim, packed_.data(), keys_.Panel(panel),
                                                 hidden_.data(), scores_.data()));
    }
    return largest;
  }

  // A bit for each of the first `count` lanes of a panel.
  static std::uint32_t LanesBelow(std::int64_t count) {
    return (1u << std::clamp<std::int64_t>(count, 0, kPanel)) - 1;
  }

  const Options& options_;
  const SelectionInput& in_;
  const PackedKeys& keys_;
  const AttentionKernels& kernels_;
  const TileProducts& products_;
  std::vector<Group> groups_, halves_;
  std::vector<std::int64_t> sampled_;
  std::vector<std::int64_t> limits_;  // of each packed row: its last key that is a candidate
  std::vector<float> row_, packed_, scores_;
  std::int64_t products_made_ = 0;
  std::vector<std::uint32_t> hidden_;  // of each packed row: lanes that are none of its candidates
};

class Hip final : public Selector {
 public:
  explicit Hip(const Params& params) : options_(params) {}

  // Decoding chooses anew every `refresh` tokens.
  struct Choice final : State {
    std::int64_t keys = 0;  // of the last call
    std::int64_t age = 0;   // steps since the choice
    std::vector<std::vector<RowBlockKeys>> blocks;
  };
  std::unique_ptr<State> NewState() const override { return std::make_unique<Choice>(); }

  std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                 State* state) const override {
    auto* choice = static_cast<Choice*>(state);
    if (choice == nullptr || in.shape.queries > 1) {
      if (choice != nullptr) choice->blocks.clear();
      return Patterns(in, Choose(context, in), 0);
    }
    const bool follows = !choice->blocks.empty() && choice->keys + 1 == in.shape.keys;
    choice->age = follows ? choice->age + 1 : 0;
    choice->keys = in.shape.keys;
    if (choice->age % options_.refresh == 0) {
      choice->age = 0;
      choice->blocks = Choose(context, in);
    }
    return Patterns(in, choice->blocks, choice->age);
  }

 private:
  std::int64_t Shared(const SelectionInput& in) const {
    return options_.group_share ? in.group() : 1;
  }

  // Of each head, or of each group of heads that share a choice.
  std::vector<std::vector<RowBlockKeys>> Choose(Context& context, const SelectionInput& in) const {
    const std::int64_t shared = Shared(in), blocks = DivideUp(in.shape.queries, options_.block_q);
    const std::int64_t choices = in.group() / shared;
    std::vector<std::vector<RowBlockKeys>> chosen(in.kv_heads * choices,
                                                  std::vector<RowBlockKeys>(blocks));
    const bool searched = options_.Blocks(in.shape.keys - 1) > options_.Kept();
    PackedKeys keys;
    std::vector<Search> searches(context.pool().size(), {options_, in, keys, context.isa()});
    for (std::int64_t kv_head = 0; kv_head < in.kv_heads; ++kv_head) {
      if (searched) keys.Pack(context, in, kv_head);
      context.pool().ForEach(choices * blocks, [&](std::int64_t i, int worker) {
        const std::int64_t index = kv_head * choices + i / blocks, block = i % blocks;
        const Range rows{block * options_.block_q,
                         std::min((block + 1) * options_.block_q, in.shape.queries)};
        const Range heads{index * shared, (index + 1) * shared};
        chosen[index][block] = {rows.end, KeysOf(searches[worker].Run(heads, rows))};
      });
    }
    return chosen;
  }

  Ranges KeysOf(const std::vector<std::int64_t>& starts) const {
    Ranges keys = {{0, options_.sink}};
    for (const std::int64_t start : starts) {
      const std::int64_t first = options_.sink + start * options_.block_k;
      keys.push_back({first, first + options_.block_k});
    }
    return Normalised(std::move(keys));
  }

  // Keys that left the window since the choice stay in sight.
  std::vector<PatternPtr> Patterns(const SelectionInput& in,
                                   const std::vector<std::vector<RowBlockKeys>>& chosen,
                                   std::int64_t age) const {
    const PatternPtr causal = Window(-1, 0), window = Window(options_.window + age - 1, 0);
    std::vector<PatternPtr> patterns;
    for (const auto& blocks : chosen) {
      const PatternPtr pattern = And(causal, Or(window, MakeRowRanges(blocks)));
      patterns.insert(patterns.end(), Shared(in), pattern);
    }
    return patterns;
  }

  Options options_;
};

}  // namespace

Mechanism hip() {
  return {
      .name = "hip",
      .title = "Hierarchically pruned attention (HiP)",
      .paper = "Lee et al. 2024, arXiv 2406.09827",
      .formula =
          "j <= i and (j < sink or i - j < window or the block of j is chosen for that of i)",
      .cost = "N (sink + window + mask_k) pairs, and a search of O(N log N)",
      .use = "long prompts of stock models: finds the keys that matter without training",
      .params =
          {{.key = "mask_k", .help = "keys that the search keeps", .fallback = "512", .least = 1},
           {.key = "block_q", .help = "rows that share a choice", .fallback = "32", .least = 1},
           {.key = "block_k", .help = "keys of a block", .fallback = "8", .least = 1},
           {.key = "stride_q",
            .help = "of every so many rows one is scored",
            .fallback = "2",
            .least = 1},
           {.key = "sink", .help = "first keys, always visible", .fallback = "16"},
           {.key = "window",
            .help = "last keys, always visible, the own among them",
            .fallback = "128",
            .least = 1},
           {.key = "rep",
            .type = ParamType::kWord,
            .help = "block that stands for a group",
            .fallback = "center",
            .words = {"center", "first", "last"}},
           {.key = "refresh", .help = "decoded tokens per choice", .fallback = "8", .least = 1},
           {.key = "dense_layers",
            .help = "first layers of a model that stay as they are",
            .fallback = "3"},
           {.key = "group_share",
            .type = ParamType::kBool,
            .help = "whether the query heads of a KV head share a choice",
            .fallback = "0"}},
      .shorthands = {{{.key = "k", .help = "mask_k", .least = 1},
                      [](const ParamValue& value, Params& params) {
                        params.Set("mask_k", value);
                      }}},
      .examples = {{"hip:mask_k=32,block_q=16,block_k=4,sink=8,window=16", 192, 192}},
      .selector = [](const Params& params) -> SelectorPtr {
        return std::make_shared<Hip>(params);
      }};
}

}  // namespace foveate::mechanisms
