// PowerAttention: a row sees its local window of blocks, the first blocks, and the blocks at
// distances 1, 2, 4, 8, ... behind its own. Chen et al. 2025, "PowerAttention: Exponentially
// Scaling of Receptive Fields for Effective Sparse Attention" (arXiv 2503.03588), algorithm 1.
//
// A distance written in binary is a sum of powers of two, so L layers reach 2^L blocks back without
// holes, for O(log N) blocks a row. A model that was trained dense loses quality without further
// training, which the paper does.
#include <algorithm>

#include "attention/band_pattern.h"
#include "mechanisms/floor_divide.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class Power final : public BandPattern {
 public:
  explicit Power(const Params& params)
      : block_(params.Integer("block")),
        window_(params.Integer("window_blocks")),
        sink_(params.Integer("sink_blocks")) {
    while ((std::int64_t{1} << first_power_) < window_) ++first_power_;
  }

 protected:
  // Sinks, window, and one band for each power of two from the window's end to the first block.
  int Bands(const AttentionShape& shape) const override {
    int power = first_power_;
    while ((block_ << power) < shape.keys) ++power;
    return 2 + power - first_power_;
  }

  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    if (band == 0) return {0, std::min(sink_ * block_, i + 1)};
    const std::int64_t own = FloorDivide(i, block_);
    if (band == 1) return {(own - window_ + 1) * block_, i + 1};
    const std::int64_t seen = own - (std::int64_t{1} << (first_power_ + band - 2));
    return {seen * block_, (seen + 1) * block_};
  }

 private:
  std::int64_t block_;
  std::int64_t window_;
  std::int64_t sink_;
  int first_power_ = 0;  // 2^this is the first one outside the window
};

}  // namespace

Mechanism power() {
  return {
      .name = "power",
      .synonyms = {"powerattention"},
      .title = "PowerAttention",
      .paper = "Chen et al. 2025, arXiv 2503.03588",
      .formula =
          "j <= i and (j < sink_blocks block or d < window_blocks or d is a power of two), "
          "d = floor(i / block) - floor(j / block)",
      .cost = "about N block (window_blocks + sink_blocks + log2(N / block)) pairs",
      .use =
          "long texts with every token in reach of a few layers; best with a model trained for "
          "it, or with full layers between",
      .params = {{.key = "block",
                  .help = "positions of a block, of queries and keys alike",
                  .fallback = "64",
                  .least = 1},
                 {.key = "window_blocks",
                  .help = "blocks of the local window, the own one included",
                  .fallback = "5",
                  .least = 1},
                 {.key = "sink_blocks", .help = "first blocks, visible to all", .fallback = "1"}},
      .examples = {{"power:block=8,window_blocks=2", 150, 150},
                   {"power:block=1,window_blocks=4,sink_blocks=2", 70, 70},
                   {"power:block=16,window_blocks=3,sink_blocks=0", 45, 200}},
      .pattern = [](const Params& params) -> PatternPtr {
        return std::make_shared<Power>(params);
      }};
}

}  // namespace foveate::mechanisms
