// Decoding with the blocks of keys of the largest mean scores. "Kinetics: Rethinking Test-Time
// Scaling Laws" (Sadhukhan et al. 2025, arXiv 2506.05333), its block-wise form.
//
// Blocks are counted from behind the sinks. The mean of a block's scores is the score of its mean
// key, which is pooled once, when the block is full: a decoded token reads one key for each block,
// then the chosen blocks whole. Query heads of a KV head share the choice, by their mean query.
// Rows of a prompt see everything before them. Blocks of 64 behind a multiple of 64 sinks are tiles
// of the operator; smaller ones share tiles with keys that are not chosen.
#include <algorithm>
#include <span>
#include <utility>

#include "attention/row_ranges.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "kernels/attention_kernels.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/top_scores.h"

namespace foveate::mechanisms {
namespace {

// Mean keys of whole blocks, as pages of keys.
struct Pooled final : Selector::State {
  std::int64_t keys = 0;                    // of the last call
  std::int64_t blocks = 0;                  // of them that are pooled
  std::vector<std::vector<float>> means{};  // [Hkv][pages * 64 * D]
};

class TopBlocks final : public Selector {
 public:
  explicit TopBlocks(const Params& params)
      : block_(params.Integer("block")),
        count_(params.Integer("topk")),
        local_(params.Integer("local")),
        sink_(params.Integer("sink")) {}

  std::unique_ptr<State> NewState() const override { return std::make_unique<Pooled>(); }

  std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                 State* state) const override {
    Pooled own;
    Pooled& pooled = state != nullptr ? *static_cast<Pooled*>(state) : own;
    // What came before this call is as it was; a cache may have been cut back.
    const std::int64_t valid = std::min(pooled.keys, in.shape.keys - in.shape.queries);
    pooled.blocks = std::min(pooled.blocks, BlocksOf(valid));
    pooled.keys = in.shape.keys;
    const std::int64_t keys = in.shape.keys;
    if (in.shape.queries != 1 || keys <= RoundUp(sink_ + local_ + count_ * block_, block_)) {
      return std::vector(in.heads, Window(-1, 0));
    }
    Pool(context, in, pooled);
    std::vector<PatternPtr> patterns(in.heads);
    context.pool().ForEach(in.kv_heads, [&](std::int64_t kv_head, int) {
      std::fill_n(patterns.begin() + kv_head * in.group(), in.group(),
                  MakeRowRanges({{1, Kept(context.isa(), in, kv_head, pooled.means[kv_head])}}));
    });
    return patterns;
  }

 private:
  // Whole blocks of the first `keys` keys.
  std::int64_t BlocksOf(std::int64_t keys) const {
    return std::max<std::int64_t>(0, keys - sink_) / block_;
  }

  // Pools the blocks that have become whole.
  void Pool(Context& context, const SelectionInput& in, Pooled& pooled) const {
    const Range blocks{pooled.blocks, BlocksOf(in.shape.keys)};
    pooled.blocks = blocks.end;
    pooled.means.resize(in.kv_heads);
    if (blocks.empty()) return;
    context.pool().ForEach(in.kv_heads, [&](std::int64_t kv_head, int) {
      std::vector<float>& means = pooled.means[kv_head];
      means.resize(RoundUp(blocks.end, kPageKeys) * in.dim);
      PoolHead(in, kv_head, blocks, means);
    });
  }

  void PoolHead(const SelectionInput& in, std::int64_t kv_head, Range blocks,
                std::vector<float>& means) const {
    Buffer<float> page(kPageKeys * in.dim);
    std::vector<float> mean(in.dim);
    std::int64_t packed = -1;
    for (std::int64_t block = blocks.begin; block < blocks.end; ++block) {
      std::fill(mean.begin(), mean.end(), 0.0f);
      for (std::int64_t key = sink_ + block * block_; key < sink_ + (block + 1) * block_; ++key) {
        if (packed != key / kPageKeys) {
          packed = key / kPageKeys;
          in.PackKeys(kv_head, packed, page.data());
        }
        AddKey(page.data(), key % kPageKeys, in.dim, mean.data());
      }
      float* to = &means[block / kPanel * kPanel * in.dim + block % kPanel];
      for (std::int64_t d = 0; d < in.dim; ++d) {
        to[d * kPanel] = mean[d] / static_cast<float>(block_);
      }
    }
  }

  Ranges Kept(Isa isa, const SelectionInput& in, std::int64_t kv_head,
              const std::vector<float>& means) const {
    const std::int64_t keys = in.shape.keys, blocks = BlocksOf(keys - local_);
    std::vector<float> scores = Scores(isa, in, kv_head, blocks, means);
    Ranges kept = {{0, sink_}, {sink_ + blocks * block_, keys}};
    for (const std::int64_t block : TopScores(isa, std::span(scores).first(blocks), count_)) {
      kept.push_back({sink_ + block * block_, sink_ + (block + 1) * block_});
    }
    return Normalised(std::move(kept));
  }

  // Of the first `blocks` blocks, and some more.
  static std::vector<float> Scores(Isa isa, const SelectionInput& in, std::int64_t kv_head,
                                   std::int64_t blocks, const std::vector<float>& means) {
    const AttentionKernels& kernels = AttentionKernelsFor(isa);
    const std::vector<float> query = MeanQuery(in, kv_head, 0);
    std::vector<float> packed(kRowStep * in.dim);
    kernels.pack_query(0, in.dim, query.data(), 1, packed.data());
    std::vector<float> scores(RoundUp(blocks, kPageKeys));
    for (std::int64_t first = 0; first < blocks; first += kPageKeys) {
      kernels.score_page(PanelLayout(in.dim), packed.data(), 1,
                         reinterpret_cast<const std::byte*>(&means[first * in.dim]), nullptr,
                         &scores[first]);
    }
    for (float& score : scores) score = Ranked(score);
    in.products += std::ssize(scores);
    return scores;
  }

  std::int64_t block_, count_, local_, sink_;
};

}  // namespace

Mechanism block() {
  return {.name = "block",
          .synonyms = {"block_topk"},
          .title = "Top blocks of keys of each decoded token",
          .paper = "Sadhukhan et al. 2025, arXiv 2506.05333",
          .formula =
              "j <= i; of a single row: j < sink or j in one of the topk best blocks or behind the "
              "last whole block before the local keys",
          .cost = "sink + topk block + local pairs for a decoded token, and one for each block",
          .use = "decoding after a long prompt: reads a fraction of the cache",
          .params = WithKeptParams(
              {{.key = "block", .help = "keys of a block", .fallback = "16", .least = 1},
               {.key = "topk", .help = "blocks kept by score", .fallback = "64", .least = 1}}),
          .examples = {{"block:block=16,topk=3,local=20,sink=4", 1, 203}},
          .selector = [](const Params& params) -> SelectorPtr {
            return std::make_shared<TopBlocks>(params);
          },
          .decoding_only = true};
}

}  // namespace foveate::mechanisms
