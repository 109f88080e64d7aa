// Causal attention: a row sees its own key and all before it, as every decoder of Vaswani et al.
// 2017, "Attention Is All You Need" (arXiv 1706.03762). The diagonal ends at the bottom right
// corner.
#include "attention/window_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {

Mechanism causal() {
  return {.name = "causal",
          .title = "Causal attention",
          .paper = "Vaswani et al. 2017, arXiv 1706.03762",
          .formula = "j <= i",
          .cost = "N (2M - N + 1) / 2 pairs for N <= M",
          .use = "language models; what a model does unless its file says otherwise",
          .examples = {{"causal", 8, 8}, {"causal", 3, 10}, {"causal", 9, 5}},
          .pattern = [](const Params&) { return Window(-1, 0); }};
}

}  // namespace foveate::mechanisms
