// A prefix tree over some of a vocabulary's tokens: which of them begin at a place in a text?
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace foveate {

class TokenTrie {
 public:
  // Longer tokens are left out (with a warning): they would make the search quadratic, and no real
  // vocabulary has any.
  static constexpr std::size_t kLongest = 1024;

  // `ids` without empty tokens; of equal spellings the first id counts.
  TokenTrie(const Vocabulary& vocabulary, std::vector<TokenId> ids);

  bool empty() const { return nodes_.size() <= 1; }

  // Calls visit(length, id) for every token that `text` begins with, shortest first.
  template <typename Visit>
  void ForEachPrefix(std::string_view text, Visit&& visit) const {
    if (text.empty()) return;
    std::uint32_t node = root_[static_cast<unsigned char>(text[0])];
    for (std::size_t length = 1; node != 0; ++length) {
      if (nodes_[node].id >= 0) visit(length, nodes_[node].id);
      if (length == text.size()) return;
      node = Child(node, text[length]);
    }
  }

 private:
  struct Node {
    std::uint32_t first_child = 0;  // children are neighbours, in byte order
    std::uint16_t children = 0;
    unsigned char byte = 0;  // on the way from the parent
    TokenId id = -1;         // of the token that ends here
  };
  struct Range;  // of sorted tokens that share a prefix

  void AddChildren(const std::vector<TokenId>& ids, const Vocabulary& vocabulary,
                   const Range& range, std::vector<Range>& next);
  std::uint32_t Child(std::uint32_t node, char byte) const {
    const auto wanted = static_cast<unsigned char>(byte);
    const std::uint32_t first = nodes_[node].first_child;
    std::uint32_t low = first, high = first + nodes_[node].children;
    while (low < high) {
      const std::uint32_t middle = (low + high) / 2;
      if (nodes_[middle].byte < wanted) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low < first + nodes_[node].children && nodes_[low].byte == wanted ? low : 0;
  }

  std::vector<Node> nodes_;                   // 0 is the root, no node's child
  std::array<std::uint32_t, 256> root_ = {};  // the root's children by byte
};

}  // namespace foveate
