// Prefix language model on packed documents: in each document its first keys are visible to all of
// its rows. Raffel et al. 2019, T5 (arXiv 1910.10683), packed as in LongCA-bench's masks.
#include "base/throw.h"
#include "mechanisms/documents.h"

namespace foveate::mechanisms {
namespace {

class PrefixLmDocument final : public KeyDocumentPattern {
 public:
  explicit PrefixLmDocument(const Params& params)
      : KeyDocumentPattern(params), prefixes_(params.List("prefixes")) {
    if (std::ssize(prefixes_) != documents_.count()) {
      Throw(ErrorCode::kInvalidArgument,
            "prefix_lm_document: prefixes has {} entries, expected {}, one per document",
            prefixes_.size(), documents_.count());
    }
    for (std::int64_t d = 0; d < documents_.count(); ++d) {
      const std::int64_t length = documents_.End(d) - documents_.Begin(d);
      if (prefixes_[d] > length) {
        Throw(ErrorCode::kInvalidArgument,
              "prefix_lm_document: prefixes[{}] is {}, but the document has {} keys", d,
              prefixes_[d], length);
      }
    }
  }

 protected:
  Range Band(const AttentionShape& shape, std::int64_t row, int) const override {
    const std::int64_t i = shape.Position(row);
    const std::int64_t document = documents_.Of(i);
    const std::int64_t begin = documents_.Begin(document);
    return {begin, std::max(i + 1, begin + prefixes_[document])};
  }

 private:
  IntegerList prefixes_;
};

}  // namespace

Mechanism prefix_lm_document() {
  return {.name = "prefix_lm_document",
          .title = "Prefix language model on documents",
          .paper = "Raffel et al. 2019, arXiv 1910.10683",
          .formula = "doc(i) == doc(j) and (j <= i or j - start(doc) < prefixes[doc])",
          .cost = "the sum over documents of causal pairs and prefix^2 / 2",
          .use = "packed training of prefix language models",
          .params = {CuParam(),
                     {.key = "prefixes",
                      .type = ParamType::kList,
                      .help = "visible prefix of each document, at most its length"}},
          .examples = {{"prefix_lm_document:cu=0/6/14,prefixes=2/5", 14, 14}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<PrefixLmDocument>(params);
          }};
}

}  // namespace foveate::mechanisms
