#include "text/special_splitter.h"

#include <algorithm>

namespace foveate {
namespace {

std::vector<TokenId> MatchedTokens(const Vocabulary& vocabulary) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.Type(id);
    const bool matched = type == TokenType::kControl || type == TokenType::kUnknown ||
                         type == TokenType::kUserDefined;
    if (matched && !vocabulary.Piece(id).empty()) ids.push_back(id);
  }
  return ids;
}

// Whether the rule cuts `a` before `b`, at different places of one text.
bool Precedes(const SpecialSplitter::Cut& a, const SpecialSplitter::Cut& b) {
  const std::size_t a_length = a.end - a.begin, b_length = b.end - b.begin;
  if (a_length != b_length) return a_length > b_length;
  if (a.id != b.id) return a.id < b.id;
  return a.begin < b.begin;
}

}  // namespace

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary)
    : SpecialSplitter(vocabulary, MatchedTokens(vocabulary)) {}

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary, const std::vector<TokenId>& ids)
    : vocabulary_(vocabulary), trie_(vocabulary, ids), starts_(std::make_unique<BytePairs>()) {
  for (const TokenId id : ids) {
    const std::string_view piece = vocabulary.Piece(id);
    if (piece.size() > 1) {
      starts_->set(PairIndex(piece[0], piece[1]));
    } else {
      for (int second = 0; second < 256; ++second) {
        starts_->set(PairIndex(piece[0], static_cast<char>(second)));
      }
    }
  }
}

SpecialSplitter::Scanner::Scanner(const SpecialSplitter& splitter, std::string_view text,
                                  std::span<const TextRange> verbatim,
                                  std::span<const TokenId> reserved)
    : splitter_(splitter), text_(text), verbatim_(verbatim), reserved_(reserved) {}

SpecialSplitter::Cut SpecialSplitter::Scanner::LongestAt(std::size_t at, std::size_t limit) const {
  if (at + 1 < limit && !splitter_.starts_->test(PairIndex(text_[at], text_[at + 1]))) {
    return {at, at, 0};
  }
  // Where tokens that may not reach into a verbatim range have to end: before the next one.
  const auto range = std::partition_point(verbatim_.begin(), verbatim_.end(),
                                          [at](const TextRange& r) { return r.end <= at; });
  const std::size_t free_end = range == verbatim_.end() ? limit : std::max(range->begin, at);
  Cut cut{at, at, 0};
  splitter_.trie_.ForEachPrefix(text_.substr(at, limit - at), [&](std::size_t length, TokenId id) {
    const bool everywhere = splitter_.vocabulary_.Type(id) == TokenType::kUserDefined &&
                            !std::binary_search(reserved_.begin(), reserved_.end(), id);
    if (everywhere || at + length <= free_end) cut = {at, at + length, id};
  });
  return cut;
}

std::optional<SpecialSplitter::Cut> SpecialSplitter::Scanner::First(std::size_t limit) const {
  for (std::size_t at = position_; at < limit; ++at) {
    const Cut cut = LongestAt(at, limit);
    if (cut.end > at) return cut;
  }
  return std::nullopt;
}

// A token may be cut as soon as no token that overlaps it precedes it in the rule. From the first
// candidate on, follow overlapping candidates to the right as long as better ones turn up: the best
// of them is cut for certain, because everything that overlaps it was either looked at here or was
// already decided. What lies to its left is then a smaller text of its own.
std::optional<SpecialSplitter::Cut> SpecialSplitter::Scanner::Next() {
  if (splitter_.trie_.empty()) return std::nullopt;
  for (;;) {
    const std::size_t limit = decided_.empty() ? text_.size() : decided_.back().begin;
    const std::optional<Cut> first = First(limit);
    if (!first) {
      if (decided_.empty()) return std::nullopt;
      const Cut cut = decided_.back();
      decided_.pop_back();
      position_ = cut.end;
      return cut;
    }
    Cut best = *first;
    for (std::size_t at = first->begin + 1; at < best.end; ++at) {
      const Cut candidate = LongestAt(at, limit);
      if (candidate.end > at && Precedes(candidate, best)) best = candidate;
    }
    if (best.begin == first->begin) {
      position_ = best.end;
      return best;
    }
    // Nothing begins before `first`; resume there, with the best cut as the new right end.
    position_ = first->begin;
    decided_.push_back(best);
  }
}

}  // namespace foveate
