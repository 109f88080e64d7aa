// Causal by blocks: a row sees its whole block, also ahead, and all blocks before it. Frames of
// video and chunks of speech that are produced at once (for example MAGI-1, arXiv 2505.13211).
#include "attention/band_pattern.h"
#include "mechanisms/floor_divide.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class BlockCausal final : public BandPattern {
 public:
  explicit BlockCausal(std::int64_t block) : block_(block) {}

 protected:
  Range Band(const AttentionShape& shape, std::int64_t row, int) const override {
    return {0, (FloorDivide(shape.Position(row), block_) + 1) * block_};
  }

 private:
  std::int64_t block_;
};

}  // namespace

Mechanism block_causal() {
  return {.name = "block_causal",
          .title = "Causal by blocks",
          .paper = "Sand AI 2025, arXiv 2505.13211",
          .formula = "floor(j / block) <= floor(i / block)",
          .cost = "the causal pairs and about N block / 2 more",
          .use = "frames or chunks that are produced at once; a call must end at a block's end",
          .params = {{.key = "block", .help = "positions of a frame or chunk", .least = 1}},
          .examples = {{"block_causal:block=4", 11, 11}, {"block_causal:block=4", 9, 6}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<BlockCausal>(params.Integer("block"));
          }};
}

}  // namespace foveate::mechanisms
