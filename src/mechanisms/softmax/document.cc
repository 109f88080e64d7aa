// Documents behind each other in one call, each attending to itself in full: the packed batches of
// FlashAttention's cu_seqlens (Dao 2023, arXiv 2307.08691).
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class Document final : public RowDocumentPattern {
 public:
  using RowDocumentPattern::RowDocumentPattern;

 protected:
  Range Band(const AttentionShape&, std::int64_t row, int) const override {
    return PlaceOf(row).keys;
  }
};

}  // namespace

Mechanism document() {
  return {
      .name = "document",
      .title = "Documents, each in full",
      .paper = "Dao 2023, arXiv 2307.08691 (cu_seqlens)",
      .formula = "doc(r) == doc(j)",
      .cost = "the sum over documents of rows times keys",
      .use = "encoders on packed batches",
      .params = CuPairParams(),
      .shorthands = CuShorthands(),
      .examples = {{"document:cu=0/5/6/12", 12, 12}, {"document:cu_q=0/2/2/6,cu_k=0/6/8/9", 6, 9}},
      .by_row = true,
      .pattern = [](const Params& params) -> PatternPtr {
        return std::make_shared<Document>(params);
      }};
}

}  // namespace foveate::mechanisms
