// Documents behind each other in one call, each with a causal sliding window: packed batches for
// the local layers of a model (cu_seqlens and window_size of FlashAttention, Dao 2023, arXiv
// 2307.08691).
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class DocumentWindow final : public RowDocumentPattern {
 public:
  explicit DocumentWindow(const Params& params)
      : RowDocumentPattern(params), left_(params.Integer("left")) {}

  // Where rows and keys are cut alike; else the positions of a document lag behind the cache's.
  std::optional<KeptKeys> Kept() const override {
    if (!aligned()) return std::nullopt;
    return KeptKeys{.first = 0, .last = left_};
  }

 protected:
  Range Band(const AttentionShape&, std::int64_t row, int) const override {
    const auto [i, keys] = PlaceOf(row);
    return {std::max(keys.begin, i - left_), std::max(keys.begin, i + 1)};
  }

 private:
  std::int64_t left_;
};

std::vector<Param> DocumentWindowParams() {
  std::vector<Param> params = CuPairParams();
  params.push_back({.key = "left", .help = "neighbours seen behind the own key"});
  return params;
}

}  // namespace

Mechanism document_window() {
  return {.name = "document_window",
          .title = "Documents, each with a sliding window",
          .paper = "Dao 2023, arXiv 2307.08691 (cu_seqlens, window_size)",
          .formula = "doc(r) == doc(j) and j <= i and i - j <= left",
          .cost = "about N (left + 1) pairs",
          .use = "packed batches in the local layers of a model",
          .params = DocumentWindowParams(),
          .shorthands = CuShorthands(),
          .examples = {{"document_window:cu=0/9/15,left=2", 15, 15},
                       {"document_window:cu_q=0/4/6,cu_k=0/2/8,left=1", 6, 8}},
          .by_row = true,
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<DocumentWindow>(params);
          }};
}

}  // namespace foveate::mechanisms
