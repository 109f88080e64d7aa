// Window with global tokens: neighbours on both sides, and the first tokens see all and are seen by
// all. Longformer (Beltagy et al. 2020, arXiv 2004.05150) and BigBird (arXiv 2007.14062).
#include "attention/band_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class GlobalWindow final : public BandPattern {
 public:
  GlobalWindow(std::int64_t left, std::int64_t global) : left_(left), global_(global) {}

 protected:
  int Bands(const AttentionShape&) const override { return 3; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    if (band == 0) return {i - left_, i + left_ + 1};
    if (band == 1) return {0, global_};
    // All keys of a global row, none of the others: the begin moves on, so that it never decreases.
    return {i < global_ ? 0 : shape.keys, shape.keys};
  }

 private:
  std::int64_t left_;
  std::int64_t global_;
};

}  // namespace

Mechanism global_window() {
  return {.name = "global_window",
          .title = "Window with global tokens",
          .paper = "Beltagy et al. 2020, arXiv 2004.05150",
          .formula = "abs(i - j) <= left or i < global or j < global",
          .cost = "about N (2 left + 1 + global) + M global pairs",
          .use = "encoders of long texts",
          .params = {{.key = "left", .help = "neighbours seen on either side"},
                     {.key = "global", .help = "first rows and keys that are fully visible"}},
          .examples = {{"global_window:left=2,global=3", 14, 14}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<GlobalWindow>(params.Integer("left"), params.Integer("global"));
          }};
}

}  // namespace foveate::mechanisms
