// Causal attention with a gap: a row sees its own key and those at least `gap` behind it.
#include "attention/band_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate::mechanisms {
namespace {

class Skip final : public BandPattern {
 public:
  explicit Skip(std::int64_t gap) : gap_(gap) {}

 protected:
  int Bands(const AttentionShape&) const override { return 2; }
  Range Band(const AttentionShape& shape, std::int64_t row, int band) const override {
    const std::int64_t i = shape.Position(row);
    return band == 0 ? Range{0, i - gap_ + 1} : Range{i, i + 1};
  }

 private:
  std::int64_t gap_;
};

}  // namespace

Mechanism skip() {
  return {.name = "skip",
          .title = "Causal with a gap",
          .paper = "an example of this documentation",
          .formula = "j == i or i - j >= gap",
          .cost = "the causal pairs less about N gap",
          .use = "nowhere; it shows how a mechanism is added",
          .params = {{.key = "gap", .help = "distance from which keys are seen", .least = 1}},
          .examples = {{"skip:gap=3", 12, 12}},
          .pattern = [](const Params& params) -> PatternPtr {
            return std::make_shared<Skip>(params.Integer("gap"));
          }};
}

}  // namespace foveate::mechanisms
