// Documents behind each other in one call, each causal: packed training and batched prefill with
// FlashAttention's cu_seqlens (Dao 2023, arXiv 2307.08691). A document with fewer rows than keys
// continues a cached one: its last row stands at its last key.
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class DocumentCausal final : public RowDocumentPattern {
 public:
  using RowDocumentPattern::RowDocumentPattern;

 protected:
  Range Band(const AttentionShape&, std::int64_t row, int) const override {
    const auto [i, keys] = PlaceOf(row);
    return {keys.begin, std::max(keys.begin, i + 1)};
  }
};

}  // namespace

Mechanism document_causal() {
  return {.name = "document_causal",
          .title = "Documents, each causal",
          .paper = "Dao 2023, arXiv 2307.08691 (cu_seqlens)",
          .formula = "doc(r) == doc(j) and j <= i, i aligned inside the document",
          .cost = "the sum over documents of their causal pairs",
          .use = "packed training, and several requests in one call",
          .params = CuPairParams(),
          .shorthands = CuShorthands(),
          .examples = {{"document_causal:cu=0/5/6/12", 12, 12},
                       {"document_causal:cu_q=0/2/3/6,cu_k=0/6/8/13", 6, 13},
                       {"document_causal:cu_q=0/4/6,cu_k=0/2/8", 6, 8}},
          .by_row = true,
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<DocumentCausal>(params);
          }};
}

}  // namespace foveate::mechanisms
