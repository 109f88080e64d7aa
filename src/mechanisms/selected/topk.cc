// Decoding with the k keys of the largest scores: what sparse decoding could reach at best.
// "Kinetics: Rethinking Test-Time Scaling Laws" (Sadhukhan et al. 2025, arXiv 2506.05333), its
// token-wise form.
//
// The query heads of a KV head share the choice, by the mean of their scores. Every key has to be
// read for it, so it spares the values only; `block` spares both. Scores are computed once, for the
// choice and for attention. Rows of a prompt see everything before them.
#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "attention/scored_keys.h"
#include "attention/window_pattern.h"
#include "base/checked.h"
#include "kernels/attention_kernels.h"
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

  // Memory that is large enough to come from the system anew at every step.
  struct Scores final : State {
    Buffer<float> of_heads;  // [Hkv][pages][group][64]
    Buffer<float> sums;      // [Hkv][pages * 64], over the group
  };
  std::unique_ptr<State> NewState() const override { return std::make_unique<Scores>(); }

  std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                 State* state) const override {
    const std::int64_t keys = in.shape.keys;
    if (in.shape.queries != 1 || keys <= sink_ + count_ + local_) {
      return std::vector(in.heads, Window(-1, 0));
    }
    Scores own;
    Scores& scores = state != nullptr ? *static_cast<Scores*>(state) : own;
    Score(context, in, scores);
    std::vector<PatternPtr> patterns(in.heads);
    context.pool().ForEach(in.kv_heads, [&](std::int64_t kv_head, int) {
      const std::int64_t size = in.pages() * kPageKeys;
      const std::vector<std::int64_t> kept =
          Kept(context.isa(), in, scores.sums.data() + kv_head * size);
      std::fill_n(patterns.begin() + kv_head * in.group(), in.group(),
                  MakeScoredKeys(Listed(kept, in.group(),
                                        scores.of_heads.data() + kv_head * size * in.group())));
    });
    return patterns;
  }

 private:
  static void Score(Context& context, const SelectionInput& in, Scores& scores) {
    const AttentionKernels& kernels = AttentionKernelsFor(context.isa());
    const std::int64_t row_size = RoundUp(in.group(), kRowStep) * in.dim;
    Buffer<float> rows(in.kv_heads * row_size);
    std::vector<float> row(in.dim);
    for (std::int64_t head = 0; head < in.heads; ++head) {
      in.Query(head, 0, row.data());
      kernels.pack_query(head % in.group(), in.dim, row.data(), 1,
                         rows.data() + head / in.group() * row_size);
    }
    const std::int64_t size = in.kv_heads * in.pages() * kPageKeys;
    if (scores.sums.size() < size) {
      scores.sums = Buffer<float>(size + size / 2);
      scores.of_heads = Buffer<float>((size + size / 2) * in.group());
    }
    constexpr std::int64_t kRun = 16;  // pages that a thread reads one after the other
    const std::int64_t runs = DivideUp(in.pages(), kRun);
    context.pool().ForEach(in.kv_heads * runs, [&](std::int64_t i, int) {
      const std::int64_t kv_head = i / runs, first = i % runs * kRun;
      for (std::int64_t page = first; page < std::min(first + kRun, in.pages()); ++page) {
        const std::int64_t at = (kv_head * in.pages() + page) * kPageKeys;
        float* of_heads = scores.of_heads.data() + at * in.group();
        in.Score(kv_head, page, rows.data() + kv_head * row_size, in.group(), of_heads);
        Sum(of_heads, in.group(), scores.sums.data() + at);
      }
    });
    in.products += in.heads * in.pages() * kPageKeys;
  }

  // The scores of a page over the heads of a group.
  static void Sum(const float* of_heads, std::int64_t heads, float* sums) {
    std::copy_n(of_heads, kPageKeys, sums);
    for (std::int64_t head = 1; head < heads; ++head) {
      for (std::int64_t key = 0; key < kPageKeys; ++key) {
        sums[key] += of_heads[head * kPageKeys + key];
      }
    }
    for (std::int64_t key = 0; key < kPageKeys; ++key) sums[key] = Ranked(sums[key]);
  }

  // Sinks, the best by the sum of their scores, and the last.
  std::vector<std::int64_t> Kept(Isa isa, const SelectionInput& in, const float* sums) const {
    std::vector<std::int64_t> keys(sink_);
    std::iota(keys.begin(), keys.end(), 0);
    const std::int64_t free = in.shape.keys - local_ - sink_;
    for (const std::int64_t key :
         TopScores(isa, {sums + sink_, static_cast<std::size_t>(free)}, count_)) {
      keys.push_back(sink_ + key);
    }
    for (std::int64_t key = sink_ + free; key < in.shape.keys; ++key) keys.push_back(key);
    return keys;
  }

  static ScoredKeys Listed(const std::vector<std::int64_t>& keys, std::int64_t heads,
                           const float* scores) {
    ScoredKeys listed{.keys = keys, .scores = {}};
    listed.scores.resize(DivideUp(std::ssize(listed.keys), kPageKeys) * heads * kPageKeys);
    for (std::int64_t i = 0; i < std::ssize(listed.keys); ++i) {
      const std::int64_t key = listed.keys[i];
      for (std::int64_t head = 0; head < heads; ++head) {
        listed.scores[(i / kPageKeys * heads + head) * kPageKeys + i % kPageKeys] =
            scores[(key / kPageKeys * heads + head) * kPageKeys + key % kPageKeys];
      }
    }
    return listed;
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
