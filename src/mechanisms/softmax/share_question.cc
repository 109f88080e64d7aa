// One question, several answers: document 0 is the question, every other document an answer that
// sees the question and itself, not the other answers. The mask of reward models and preference
// training on packed samples (FlashMask, Wang et al. 2024, arXiv 2410.01359, "share question").
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class ShareQuestion final : public KeyDocumentPattern {
 public:
  using KeyDocumentPattern::KeyDocumentPattern;

 protected:
  int Bands(const AttentionShape&) const override { return 2; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    const std::int64_t document = documents_.Of(i);
    if (band == 0) return {documents_.Begin(document), i + 1};
    return {0, document == 0 ? 0 : documents_.End(0)};
  }
};

}  // namespace

Mechanism share_question() {
  return {.name = "share_question",
          .title = "One question, several answers",
          .paper = "Wang et al. 2024, arXiv 2410.01359",
          .formula = "doc(i) == doc(j) and j <= i, or doc(j) == 0 and doc(i) != 0",
          .cost = "causal pairs per document and answers times question",
          .use = "scoring several answers at the price of one prompt",
          .params = {CuParam()},
          .examples = {{"share_question:cu=0/4/8/13", 13, 13}, {"share_question:cu=0/5", 5, 5}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<ShareQuestion>(params);
          }};
}

}  // namespace foveate::mechanisms
