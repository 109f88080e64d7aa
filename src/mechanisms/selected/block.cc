// Decoding with the blocks of keys of the largest mean scores. "Kinetics: Rethinking Test-Time
// Scaling Laws" (Sadhukhan et al. 2025, arXiv 2506.05333), its block-wise form.
//
// Blocks are counted from behind the sinks. The mean of a block's scores is the score of its mean
// key, which is pooled once, when the block is full: a decoded token reads one key for each block,
// then the chosen blocks whole. Query heads of a KV head share the choice, by their mean query.
// Rows of a prompt see everything before them. Blocks of 64 behind a multiple of 64 sinks are tiles
// of the operator; smaller ones share tiles with keys that are not chosen.
#include <algorithm>

#include "attention/row_ranges.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/top_scores.h"

namespace foveate::mechanisms {
namespace {

// Mean keys of whole blocks, of every KV head.
struct Pooled final : Selector::State {
  std::int64_t keys = 0;                    // of the last call
  std::vector<std::vector<float>> means{};  // [Hkv][blocks * D]
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
    pooled.keys = in.shape.keys;
    pooled.means.resize(in.kv_heads);
    for (auto& means : pooled.means)
      means.resize(std::min<std::size_t>(means.size(), BlocksOf(valid) * in.dim));
    const std::int64_t keys = in.shape.keys;
    if (in.shape.queries != 1 || keys <= RoundUp(sink_ + local_ + count_ * block_, block_)) {
      return std::vector(in.heads, Window(-1, 0));
    }
    std::vector<PatternPtr> patterns(in.heads);
    context.pool().ForEach(in.kv_heads, [&](std::int64_t kv_head, int) {
      std::vector<float>& means = pooled.means[kv_head];
      Pool(in, kv_head, means);
      const PatternPtr pattern = MakeRowRanges({{1, Kept(in, kv_head, means)}});
      std::fill_n(patterns.begin() + kv_head * in.group(), in.group(), pattern);
    });
    return patterns;
  }

 private:
  // Whole blocks of the first `keys` keys.
  std::int64_t BlocksOf(std::int64_t keys) const {
    return std::max<std::int64_t>(0, keys - sink_) / block_;
  }

  void Pool(const SelectionInput& in, std::int64_t kv_head, std::vector<float>& means) const {
    const std::int64_t dim = in.dim, blocks = BlocksOf(in.shape.keys);
    Buffer<float> page(kPageKeys * dim);
    std::int64_t packed = -1;
    for (std::int64_t block = std::ssize(means) / dim; block < blocks; ++block) {
      means.resize((block + 1) * dim);
      float* mean = &means[block * dim];
      for (std::int64_t key = sink_ + block * block_; key < sink_ + (block + 1) * block_; ++key) {
        if (packed != key / kPageKeys) {
          packed = key / kPageKeys;
          in.PackKeys(kv_head, packed, page.data());
        }
        AddKey(page.data(), key % kPageKeys, dim, mean);
      }
      for (std::int64_t d = 0; d < dim; ++d) mean[d] /= static_cast<float>(block_);
    }
  }

  Ranges Kept(const SelectionInput& in, std::int64_t kv_head,
              const std::vector<float>& means) const {
    const std::int64_t keys = in.shape.keys, blocks = BlocksOf(keys - local_);
    const std::vector<float> query = MeanQuery(in, kv_head, 0);
    std::vector<float> scores(blocks);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const float* mean = &means[block * in.dim];
      float score = 0;
      for (std::int64_t d = 0; d < in.dim; ++d) score += query[d] * mean[d];
      scores[block] = Ranked(score);
    }
    Ranges kept = {{0, sink_}, {sink_ + blocks * block_, keys}};
    for (const std::int64_t block : TopScores(scores, count_)) {
      kept.push_back({sink_ + block * block_, sink_ + (block + 1) * block_});
    }
    return Normalised(std::move(kept));
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
