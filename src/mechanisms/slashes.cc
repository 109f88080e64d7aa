#include "mechanisms/slashes.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "attention/schedule.h"

namespace foveate {
namespace {

class Slashes final : public Pattern {
 public:
  Slashes(std::int64_t step, std::int64_t count) : step_(step), reach_((count - 1) * step) {}

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    const std::int64_t distance = shape.Position(row) - key;
    return 0 <= distance && distance <= reach_ && distance % step_ == 0;
  }

  // Steps from key to key; most of 64 are not among them.
  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    const std::int64_t i = shape.Position(row);
    const std::int64_t end = std::min({first_key + 64, i + 1, shape.keys});
    const std::int64_t lowest = std::max(first_key, i - reach_);
    if (lowest >= end) return 0;
    std::uint64_t bits = 0;
    for (std::int64_t key = lowest + (i - lowest) % step_; key < end; key += step_) {
      bits |= std::uint64_t{1} << (key - first_key);
    }
    return bits;
  }

  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    const std::int64_t first = shape.Position(rows.begin);
    const std::int64_t last = shape.Position(rows.end - 1);
    const Range keys{0, shape.keys};
    // Where no tile fits between the keys of neighbouring steps, one run tells as much as many.
    if (step_ - rows.size() < kTileKeys) {
      const Range all = Intersect({last - reach_, first + 1}, keys);
      return {step_ == 1 ? Normalised({all}) : Ranges{},
              Normalised({Intersect({first - reach_, last + 1}, keys)})};
    }
    Ranges any;
    const std::int64_t most = std::min(reach_, last);
    for (std::int64_t distance = most - most % step_; distance >= 0; distance -= step_) {
      any.push_back(Intersect({first - distance, last - distance + 1}, keys));
    }
    any = Normalised(std::move(any));
    return {rows.size() == 1 ? any : Ranges{}, any};
  }

  std::optional<KeptKeys> Kept() const override { return KeptKeys{.first = 0, .last = reach_}; }

 private:
  std::int64_t step_;
  std::int64_t reach_;  // the largest distance
};

}  // namespace

PatternPtr MakeSlashes(std::int64_t step, std::int64_t count) {
  return std::make_shared<Slashes>(step, count);
}

}  // namespace foveate
