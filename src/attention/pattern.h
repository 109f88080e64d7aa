// Which keys each query row attends to: the half of a softmax mechanism that differs.
//
// A pattern is a rule without a size: it serves every call whose shape it accepts. It answers three
// questions, from the definition up to what a schedule needs: one element, the 64 keys of one row
// of a tile, and what a whole band of rows sees. It must answer the last without visiting elements,
// for a schedule is built in time proportional to the tiles that it lists.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attention/ranges.h"

namespace foveate {

// The sizes of one call. Rows are aligned at the bottom right: row r is the position
// keys - queries + r, so that the last query stands at the last key. With more queries than keys
// the first positions are negative and see nothing causal.
struct AttentionShape {
  std::int64_t queries = 0;  // N
  std::int64_t keys = 0;     // M

  std::int64_t Position(std::int64_t row) const { return keys - queries + row; }
  std::int64_t Row(std::int64_t position) const { return position - keys + queries; }
  bool operator==(const AttentionShape&) const = default;
};

// What a band of rows sees: keys that every row attends, and keys that any row does. `all` may lack
// keys and `any` may have too many: that costs time and no more. Both in normal form, within
// [0, keys), all within any.
struct Coverage {
  Ranges all;
  Ranges any;
};

// Keys that rows at later positions can still see: the first `first` and, before the next row, the
// last `last` positions. A cache may forget the others.
struct KeptKeys {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

struct TokenOrder;
struct ScoredKeys;

class Pattern {
 public:
  virtual ~Pattern() = default;

  // Throws Error(kInvalidArgument) naming the parameter if calls of this shape are not served.
  virtual void Check(const AttentionShape& shape) const;

  // Whether the row attends the key; 0 <= row < queries, 0 <= key < keys.
  virtual bool Attends(const AttentionShape& shape, std::int64_t row, std::int64_t key) const = 0;

  // Keys [first_key, first_key + 64) of a row, bit k for first_key + k; none beyond the last key.
  // By default it asks Attends of each.
  virtual std::uint64_t Bits(const AttentionShape& shape, std::int64_t row,
                             std::int64_t first_key) const;

  virtual Coverage Cover(const AttentionShape& shape, Range rows) const = 0;

  // Nothing if later rows may see any key.
  virtual std::optional<KeptKeys> Kept() const { return std::nullopt; }

  // The keys of a pattern for a single row that has their scores at hand; null: none has.
  virtual const ScoredKeys* Scored() const { return nullptr; }

  // An order of the tokens in which calls of this shape visit fewer tiles; null: as they come.
  // Takes time in proportion to the tokens.
  virtual std::shared_ptr<const TokenOrder> Order(const AttentionShape& shape) const;
};

using PatternPtr = std::shared_ptr<const Pattern>;

// Rows and keys of a call, which has as many of both, in another order. The operator gathers by it
// whatever it packs and scatters the result, so that callers see nothing of it; a model may also
// permute its tokens once, run layer after layer with `pattern`, and put them back in the end.
struct TokenOrder {
  std::vector<std::int64_t> tokens;  // [places]: the token at each place; -1: none, a filler
  PatternPtr pattern;                // the same in places; a filler sees nothing and nobody sees it
};

// Both / either of two patterns.
PatternPtr And(PatternPtr a, PatternPtr b);
PatternPtr Or(PatternPtr a, PatternPtr b);

// A pattern of the caller's own: a predicate on (position of the row, key) and what a band of
// positions sees.
using Predicate = std::function<bool(std::int64_t position, std::int64_t key)>;
using BlockClassifier = std::function<Coverage(Range positions, std::int64_t keys)>;
PatternPtr MakePredicate(Predicate attends, BlockClassifier cover);

}  // namespace foveate
