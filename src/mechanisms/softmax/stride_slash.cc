// Strided attention: a window, the keys at multiples of `stride` behind the row (slashes in the
// picture of the mask) and the first keys. The strided pattern of Sparse Transformers (Child et al.
// 2019, arXiv 1904.10509), with the sinks of StreamingLLM.
#include <algorithm>

#include "attention/band_pattern.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/slashes.h"

namespace foveate::mechanisms {
namespace {

class SinkAndKeys final : public BandPattern {
 public:
  SinkAndKeys(std::int64_t sink, std::int64_t window) : sink_(sink), window_(window) {}

 protected:
  int Bands(const AttentionShape&) const override { return 2; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    return band == 0 ? Range{0, std::min(sink_, i + 1)} : Range{i - window_ + 1, i + 1};
  }

 private:
  std::int64_t sink_;
  std::int64_t window_;
};

}  // namespace

Mechanism stride_slash() {
  return {.name = "stride_slash",
          .title = "Window, slashes and sinks",
          .paper = "Child et al. 2019, arXiv 1904.10509",
          .formula = "j <= i and (i - j < window or (i - j) mod stride == 0 or j < sink)",
          .cost = "about N (window + sink) + N^2 / (2 stride) pairs",
          .use = "a baseline with the whole text in reach through few layers",
          .params = {{.key = "window", .help = "keys of the local window, the own one included"},
                     {.key = "stride", .help = "distance from slash to slash", .least = 1},
                     {.key = "sink", .help = "first keys, always visible"}},
          .examples = {{"stride_slash:window=3,stride=5,sink=1", 18, 18}},
          .pattern = [](const Params& params) {
            return Or(
                std::make_shared<SinkAndKeys>(params.Integer("sink"), params.Integer("window")),
                MakeSlashes(params.Integer("stride"), static_cast<std::int64_t>(kMostCount)));
          }};
}

}  // namespace foveate::mechanisms
