#include "text/token_trie.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace foveate {

struct TokenTrie::Range {
  std::uint32_t node;
  std::size_t begin, end;  // in the sorted ids
  std::size_t depth;       // bytes they share
};

TokenTrie::TokenTrie(const Vocabulary& vocabulary, std::vector<TokenId> ids) : nodes_(1) {
  const std::size_t long_ones =
      std::erase_if(ids, [&](TokenId id) { return vocabulary.Piece(id).size() > kLongest; });
  if (long_ones > 0) {
    Warn("{}: {} tokens are longer than {} bytes and not looked for in text",
         vocabulary.file().path(), long_ones, kLongest);
  }
  std::sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
    const int order = vocabulary.Piece(a).compare(vocabulary.Piece(b));
    return order != 0 ? order < 0 : a < b;
  });
  // Level by level, so that a node's children are neighbours.
  std::vector<Range> level = {{0, 0, ids.size(), 0}};
  while (!level.empty()) {
    std::vector<Range> next;
    for (const Range& range : level) AddChildren(ids, vocabulary, range, next);
    level = std::move(next);
  }
  const Node& root = nodes_[0];
  for (std::uint32_t i = 0; i < root.children; ++i) {
    root_[nodes_[root.first_child + i].byte] = root.first_child + i;
  }
}

void TokenTrie::AddChildren(const std::vector<TokenId>& ids, const Vocabulary& vocabulary,
                            const Range& range, std::vector<Range>& next) {
  std::size_t at = range.begin;
  // Tokens that end here come first in the order.
  while (at < range.end && vocabulary.Piece(ids[at]).size() == range.depth) {
    if (nodes_[range.node].id < 0 && range.depth > 0) nodes_[range.node].id = ids[at];
    ++at;
  }
  nodes_[range.node].first_child = static_cast<std::uint32_t>(nodes_.size());
  while (at < range.end) {
    const char byte = vocabulary.Piece(ids[at])[range.depth];
    const std::size_t begin = at;
    while (at < range.end && vocabulary.Piece(ids[at])[range.depth] == byte) ++at;
    next.push_back({static_cast<std::uint32_t>(nodes_.size()), begin, at, range.depth + 1});
    nodes_.push_back({.byte = static_cast<unsigned char>(byte)});
    ++nodes_[range.node].children;
  }
}

}  // namespace foveate
