// Decoding with the k keys of the largest scores: what sparse decoding could reach at best.
// "Kinetics: Rethinking Test-Time Scaling Laws" (Sadhukhan et al. 2025, arXiv 2506.05333), its
// token-wise form.
//
// The query heads of a KV head share the choice, by the mean of their scores: q_mean . k. Every key
// has to be read for it, so it spares the values only; `block` spares both. Rows of a prompt see
// everything before them.
#include "attention/row_ranges.h"
#include "attention/window_pattern.h"
#include "kernels/attention_kernels.h"
#include "kernels/tile_products.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/top_scores.h"

namespace foveate::mechanisms {
namespace {

class TopKeys final : public Selector {
 public:
  explicit TopKeys(const Params& params)
      : count_(params.Integer("topk")),
        local_(params.Integer("local")),
        sink_(params.Integer("sink")) {}

  std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                 State*) const override {
    const std::int64_t keys = in.shape.keys;
    if (in.shape.queries != 1 || keys <= sink_ + count_ + local_) {
      return std::vector(in.heads, Window(-1, 0));
    }
    std::vector<PatternPtr> patterns;
    for (std::int64_t kv_head = 0; kv_head < in.kv_heads; ++kv_head) {
      const std::vector<float> scores = Scores(context, in, kv_head);
      const std::span free(scores.data() + sink_, keys - local_ - sink_);
      Ranges kept = {{0, sink_}, {keys - local_, keys}};
      for (const std::int64_t key : TopScores(free, count_)) {
        kept.push_back({sink_ + key, sink_ + key + 1});
      }
      patterns.insert(patterns.end(), in.group(), MakeRowRanges({{1, Normalised(kept)}}));
    }
    return patterns;
  }

 private:
  static std::vector<float> Scores(Context& context, const SelectionInput& in,
                                   std::int64_t kv_head) {
    const std::vector<float> query = MeanQuery(in, kv_head, 0);
    std::vector<float> packed(kRowStep * in.dim);
    AttentionKernelsFor(context.isa()).pack_query(0, in.dim, query.data(), 1, packed.data());
    std::vector<float> scores(in.pages() * kPageKeys);
    std::vector<Buffer<float>> panels(context.pool().size());
    context.pool().ForEach(in.pages(), [&](std::int64_t page, int worker) {
      Buffer<float>& memory = panels[worker];
      if (memory.size() == 0) memory = Buffer<float>(kPageKeys * in.dim);
      in.PackKeys(kv_head, page, memory.data());
      TileProductsFor(context.isa())
          .scores(1, in.dim, packed.data(), memory.data(), &scores[page * kPageKeys]);
    });
    for (float& score : scores) score = Ranked(score);
    return scores;
  }

  std::int64_t count_, local_, sink_;
};

}  // namespace

Mechanism topk() {
  return {
      .name = "topk",
      .title = "Top keys of each decoded token",
      .paper = "Sadhukhan et al. 2025, arXiv 2506.05333",
      .formula = "j <= i; of a single row: j < sink or i - j < local or j is among the topk best",
      .cost = "sink + topk + local pairs for a decoded token, and a look at every key",
      .use = "the quality that sparse decoding can reach; `block` costs less",
      .params = WithKeptParams(
          {{.key = "topk", .help = "keys kept by score", .fallback = "512", .least = 1}}),
      .examples = {{"topk:topk=20,local=10,sink=4", 1, 120}},
      .selector = [](const Params& params) -> SelectorPtr {
        return std::make_shared<TopKeys>(params);
      },
      .decoding_only = true};
}

}  // namespace foveate::mechanisms
