#include "attention/window_pattern.h"

#include "attention/band_pattern.h"
#include "base/throw.h"

namespace foveate {
namespace {

class WindowPattern : public BandPattern {
 public:
  WindowPattern(std::int64_t left, std::int64_t right) : left_(left), right_(right) {}

  std::optional<KeptKeys> Kept() const override {
    if (left_ < 0 || right_ != 0) return std::nullopt;
    return KeptKeys{0, left_};
  }

 protected:
  Range Band(const AttentionShape& shape, std::int64_t row, int) const override {
    const std::int64_t position = shape.Position(row);
    return {left_ < 0 ? 0 : position - left_, right_ < 0 ? shape.keys : position + right_ + 1};
  }

 private:
  std::int64_t left_;
  std::int64_t right_;
};

}  // namespace

PatternPtr Window(std::int64_t left, std::int64_t right) {
  if (left < -1 || right < -1) {
    Throw(ErrorCode::kInvalidArgument,
          "window: left {} and right {}, expected -1 (no bound) or more", left, right);
  }
  return std::make_shared<WindowPattern>(left, right);
}

const PatternPtr& FullPattern() {
  static const PatternPtr full = Window(-1, -1);
  return full;
}

}  // namespace foveate
