// Full attention: every row sees every key. Plain softmax(q k^T / sqrt(D)) v of Vaswani et al.
// 2017, "Attention Is All You Need" (arXiv 1706.03762), the yardstick of all others.
#include "attention/window_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {

Mechanism full() {
  return {.name = "full",
          .synonyms = {"dense"},
          .title = "Full attention",
          .paper = "Vaswani et al. 2017, arXiv 1706.03762",
          .formula = "true",
          .cost = "N M pairs",
          .use = "encoders, and as the yardstick of everything else",
          .examples = {{"full", 5, 9}},
          .pattern = [](const Params&) { return FullPattern(); }};
}

}  // namespace foveate::mechanisms
