// Prefix language model: causal, but the first `prefix` keys are visible to all, so that the prompt
// reads itself in both directions. Raffel et al. 2019, T5 (arXiv 1910.10683), section 3.2.1.
#include <algorithm>

#include "attention/band_pattern.h"
#include "base/throw.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class PrefixLm final : public BandPattern {
 public:
  explicit PrefixLm(std::int64_t prefix) : prefix_(prefix) {}

  void Check(const AttentionShape& shape) const override {
    if (prefix_ > shape.keys) {
      Throw(ErrorCode::kInvalidArgument, "prefix_lm: prefix is {}, but the call has {} keys",
            prefix_, shape.keys);
    }
  }

 protected:
  Range Band(const AttentionShape& shape, std::int64_t row, int) const override {
    return {0, std::max(shape.Position(row) + 1, prefix_)};
  }

 private:
  std::int64_t prefix_;
};

}  // namespace

Mechanism prefix_lm() {
  return {.name = "prefix_lm",
          .title = "Prefix language model",
          .paper = "Raffel et al. 2019, arXiv 1910.10683",
          .formula = "j <= i or j < prefix",
          .cost = "the causal pairs and prefix^2 / 2 more",
          .use = "models trained so; a chunk of the prompt must hold the whole prefix",
          .params = {{.key = "prefix", .help = "first keys, visible to all; at most M"}},
          .examples = {{"prefix_lm:prefix=4", 10, 10}, {"prefix_lm:prefix=3", 4, 10}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<PrefixLm>(params.Integer("prefix"));
          }};
}

}  // namespace foveate::mechanisms
