#include "attention/scored_keys.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace foveate {
namespace {

class ScoredKeysPattern final : public Pattern {
 public:
  explicit ScoredKeysPattern(ScoredKeys scored) : scored_(std::move(scored)) {}

  bool Attends(const AttentionShape&, std::int64_t, std::int64_t key) const override {
    return std::binary_search(scored_.keys.begin(), scored_.keys.end(), key);
  }

  std::uint64_t Bits(const AttentionShape&, std::int64_t, std::int64_t first_key) const override {
    std::uint64_t bits = 0;
    for (auto key = std::lower_bound(scored_.keys.begin(), scored_.keys.end(), first_key);
         key != scored_.keys.end() && *key < first_key + 64; ++key) {
      bits |= std::uint64_t{1} << (*key - first_key);
    }
    return bits;
  }

  Coverage Cover(const AttentionShape&, Range) const override {
    Ranges keys;
    for (const std::int64_t key : scored_.keys) {
      if (!keys.empty() && keys.back().end == key) {
        ++keys.back().end;
      } else {
        keys.push_back({key, key + 1});
      }
    }
    return {keys, keys};
  }

  const ScoredKeys* Scored() const override { return &scored_; }

 private:
  ScoredKeys scored_;
};

}  // namespace

PatternPtr MakeScoredKeys(ScoredKeys scored) {
  return std::make_shared<ScoredKeysPattern>(std::move(scored));
}

}  // namespace foveate
