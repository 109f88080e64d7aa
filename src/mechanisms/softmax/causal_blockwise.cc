// Demonstrations that do not see each other: every document is causal for itself, and the last one,
// the question, sees all. In-context learning with isolated examples (FlashMask, Wang et al. 2024,
// arXiv 2410.01359, "causal blockwise").
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class CausalBlockwise final : public KeyDocumentPattern {
 public:
  using KeyDocumentPattern::KeyDocumentPattern;

 protected:
  int Bands(const AttentionShape&) const override { return 2; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    const std::int64_t document = documents_.Of(i), last = documents_.count() - 1;
    if (band == 0) return {documents_.Begin(document), i + 1};
    return {0, document == last ? documents_.Begin(last) : 0};
  }
};

}  // namespace

Mechanism causal_blockwise() {
  return {.name = "causal_blockwise",
          .title = "Isolated demonstrations",
          .paper = "Wang et al. 2024, arXiv 2410.01359",
          .formula = "doc(i) == doc(j) and j <= i, or doc(i) == last and doc(j) != last",
          .cost = "causal pairs per document, and the last document times all before it",
          .use = "many-shot prompts whose examples are read, and cached, one by one",
          .params = {CuParam()},
          .examples = {{"causal_blockwise:cu=0/4/9/13", 13, 13}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<CausalBlockwise>(params);
          }};
}

}  // namespace foveate::mechanisms
