// Causal by blocks within each document: block_causal on packed sequences, blocks counted from the
// start of the document (for example MAGI-1, arXiv 2505.13211).
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class BlockCausalDocument final : public KeyDocumentPattern {
 public:
  explicit BlockCausalDocument(const Params& params)
      : KeyDocumentPattern(params), block_(params.Integer("block")) {}

 protected:
  Range Band(const AttentionShape& shape, std::int64_t row, int) const override {
    const std::int64_t i = shape.Position(row);
    const std::int64_t document = documents_.Of(i), begin = documents_.Begin(document);
    const std::int64_t block_end = begin + ((i - begin) / block_ + 1) * block_;
    return {begin, std::min(block_end, documents_.End(document))};
  }

 private:
  std::int64_t block_;
};

}  // namespace

Mechanism block_causal_document() {
  return {
      .name = "block_causal_document",
      .title = "Causal by blocks within documents",
      .paper = "Sand AI 2025, arXiv 2505.13211",
      .formula = "doc(i) == doc(j) and floor((j - start) / block) <= floor((i - start) / block)",
      .cost = "causal pairs per document and about N block / 2 more",
      .use = "packed videos, one document each",
      .params = {CuParam(), {.key = "block", .help = "positions of a frame or chunk", .least = 1}},
      .examples = {{"block_causal_document:cu=0/6/13,block=3", 13, 13}},
      .pattern = [](const Params& params) -> PatternPtr {
        return std::make_shared<BlockCausalDocument>(params);
      }};
}

}  // namespace foveate::mechanisms
