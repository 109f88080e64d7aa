// Dilated window: a row sees every dilation-th key behind it, `count` in all. The dilated sliding
// window of Longformer (Beltagy et al. 2020, arXiv 2004.05150), causal: a reach of
// dilation * (count - 1) for the price of `count` keys, with holes.
#include "mechanisms/mechanism.h"
#include "mechanisms/slashes.h"

namespace foveate::mechanisms {

Mechanism dilated() {
  return {.name = "dilated",
          .title = "Dilated window",
          .paper = "Beltagy et al. 2020, arXiv 2004.05150",
          .formula = "j <= i and (i - j) mod dilation == 0 and (i - j) / dilation < count",
          .cost =
              "about N count pairs; below a dilation of 128 most of its tiles are visited for few "
              "of them",
          .use = "together with a window: window:left=255,right=0 | dilated:dilation=64,count=32",
          .params = {{.key = "dilation", .help = "distance from key to key", .least = 1},
                     {.key = "count", .help = "keys seen, the own one included", .least = 1}},
          .examples = {{"dilated:dilation=3,count=3", 14, 14}},
          .pattern = [](const Params& params) {
            return MakeSlashes(params.Integer("dilation"), params.Integer("count"));
          }};
}

}  // namespace foveate::mechanisms
