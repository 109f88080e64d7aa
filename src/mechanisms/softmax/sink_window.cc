// Sliding window with sinks, StreamingLLM: a row sees the first keys of the text and a window
// behind it. Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks" (arXiv
// 2309.17453): models park attention on the first keys, and break when a window loses them.
//
// With positions=cache a model rotates keys by their place within what is kept, so that a stream of
// any length stays within the positions that the model has seen; with positions=text by their place
// in the text. The pattern is the same.
#include <algorithm>

#include "attention/band_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class SinkWindow final : public BandPattern {
 public:
  SinkWindow(std::int64_t sink, std::int64_t left) : sink_(sink), left_(left) {}

  std::optional<KeptKeys> Kept() const override { return KeptKeys{sink_, left_}; }

 protected:
  int Bands(const AttentionShape&) const override { return 2; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    return band == 0 ? Range{0, std::min(sink_, i + 1)} : Range{i - left_, i + 1};
  }

 private:
  std::int64_t sink_;
  std::int64_t left_;
};

}  // namespace

Mechanism sink_window() {
  return {.name = "sink_window",
          .synonyms = {"streaming"},
          .title = "Sliding window with sinks (StreamingLLM)",
          .paper = "Xiao et al. 2023, arXiv 2309.17453",
          .formula = "j <= i and (j < sink or i - j <= left)",
          .cost = "about N (sink + left + 1) pairs",
          .use = "endless streams with a fixed cache of sink + left + 1 positions",
          .params = {{.key = "sink", .help = "first keys, always visible"},
                     {.key = "left", .help = "neighbours seen behind the own key"},
                     {.key = "positions",
                      .type = ParamType::kWord,
                      .help = "what a model rotates keys by: their place in the cache or the text",
                      .fallback = "cache",
                      .words = {"cache", "text"}}},
          .examples = {{"sink_window:sink=2,left=4", 16, 16},
                       {"sink_window:sink=2,left=4,positions=text", 5, 16}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<SinkWindow>(params.Integer("sink"), params.Integer("left"));
          }};
}

}  // namespace foveate::mechanisms
