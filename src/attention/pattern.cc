#include "attention/pattern.h"

#include <algorithm>
#include <utility>

namespace foveate {
namespace {

constexpr std::int64_t kWordBits = 64;

class Both final : public Pattern {
 public:
  Both(PatternPtr a, PatternPtr b) : a_(std::move(a)), b_(std::move(b)) {}

  void Check(const AttentionShape& shape) const override {
    a_->Check(shape);
    b_->Check(shape);
  }
  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return a_->Attends(shape, row, key) && b_->Attends(shape, row, key);
  }
  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    const std::uint64_t bits = a_->Bits(shape, row, first_key);
    return bits == 0 ? 0 : bits & b_->Bits(shape, row, first_key);
  }
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    const Coverage a = a_->Cover(shape, rows);
    const Coverage b = b_->Cover(shape, rows);
    return {Intersection(a.all, b.all), Intersection(a.any, b.any)};
  }
  // What either one may forget is never seen again.
  std::optional<KeptKeys> Kept() const override {
    const std::optional<KeptKeys> a = a_->Kept();
    const std::optional<KeptKeys> b = b_->Kept();
    if (!a || !b) return a ? a : b;
    return a->first + a->last < b->first + b->last ? a : b;
  }

 private:
  PatternPtr a_;
  PatternPtr b_;
};

class Either final : public Pattern {
 public:
  Either(PatternPtr a, PatternPtr b) : a_(std::move(a)), b_(std::move(b)) {}

  void Check(const AttentionShape& shape) const override {
    a_->Check(shape);
    b_->Check(shape);
  }
  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return a_->Attends(shape, row, key) || b_->Attends(shape, row, key);
  }
  std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                     std::int64_t first_key) const override {
    return a_->Bits(shape, row, first_key) | b_->Bits(shape, row, first_key);
  }
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    const Coverage a = a_->Cover(shape, rows);
    const Coverage b = b_->Cover(shape, rows);
    return {Union(a.all, b.all), Union(a.any, b.any)};
  }
  std::optional<KeptKeys> Kept() const override {
    const std::optional<KeptKeys> a = a_->Kept();
    const std::optional<KeptKeys> b = b_->Kept();
    if (!a || !b) return std::nullopt;
    return KeptKeys{std::max(a->first, b->first), std::max(a->last, b->last)};
  }

 private:
  PatternPtr a_;
  PatternPtr b_;
};

class PredicatePattern final : public Pattern {
 public:
  PredicatePattern(Predicate attends, BlockClassifier cover)
      : attends_(std::move(attends)), cover_(std::move(cover)) {}

  bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const override {
    return attends_(shape.Position(row), key);
  }
  // Brings what the caller's classifier returns into the form that Coverage promises.
  Coverage Cover(const AttentionShape& shape, Range rows) const override {
    Coverage cover = cover_({shape.Position(rows.begin), shape.Position(rows.end)}, shape.keys);
    const Ranges keys = {{0, shape.keys}};
    cover.any = Intersection(Normalised(std::move(cover.any)), keys);
    cover.all = Intersection(Normalised(std::move(cover.all)), cover.any);
    return cover;
  }

 private:
  Predicate attends_;
  BlockClassifier cover_;
};

}  // namespace

void Pattern::Check(const AttentionShape&) const {}

std::shared_ptr<const TokenOrder> Pattern::Order(const AttentionShape&) const { return nullptr; }

std::uint64_t Pattern::Bits(const AttentionShape& shape, std::int64_t row,
                            std::int64_t first_key) const {
  const std::int64_t count = std::min(kWordBits, shape.keys - first_key);
  std::uint64_t bits = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    bits |= std::uint64_t{Attends(shape, row, first_key + k)} << k;
  }
  return bits;
}

PatternPtr And(PatternPtr a, PatternPtr b) {
  return std::make_shared<Both>(std::move(a), std::move(b));
}

PatternPtr Or(PatternPtr a, PatternPtr b) {
  return std::make_shared<Either>(std::move(a), std::move(b));
}

PatternPtr MakePredicate(Predicate attends, BlockClassifier cover) {
  return std::make_shared<PredicatePattern>(std::move(attends), std::move(cover));
}

}  // namespace foveate
