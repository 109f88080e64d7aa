// Sliding window: a row sees its neighbours, `left` behind and `right` ahead, as in Longformer
// (Beltagy et al. 2020, arXiv 2004.05150) and the local layers of Mistral and Gemma. The numbers
// count neighbours and not the own key: models that speak of a window of S keys mean left = S - 1.
#include "attention/window_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {

Mechanism window() {
  const auto expand_size = [](const ParamValue& value, Params& params) {
    params.Set("left", std::get<std::int64_t>(value) - 1);
    params.Set("right", std::int64_t{0});
  };
  return {
      .name = "window",
      .synonyms = {"sliding_window", "swa"},
      .title = "Sliding window",
      .paper = "Beltagy et al. 2020, arXiv 2004.05150",
      .formula = "(left < 0 or i - j <= left) and (right < 0 or j - i <= right)",
      .cost = "about N (left + right + 1) pairs",
      .use = "local layers; the cache forgets all but the last `left` positions if right = 0",
      .params =
          {{.key = "left", .help = "neighbours seen behind the own key; -1: all", .least = -1},
           {.key = "right", .help = "neighbours seen ahead of the own key; -1: all", .least = -1}},
      .shorthands = {{{.key = "size", .help = "keys seen: left = size - 1, right = 0", .least = 1},
                      expand_size}},
      .examples = {{"window:left=3,right=2", 12, 12},
                   {"window:left=3,right=0", 4, 12},
                   {"window:left=-1,right=2", 10, 10}},
      .pattern = [](const Params& params) {
        return Window(params.Integer("left"), params.Integer("right"));
      }};
}

}  // namespace foveate::mechanisms
