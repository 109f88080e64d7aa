// Cuts the tokens that are matched in raw text (control, unknown and user-defined ones) out of it.
//
// The rule: longest tokens first, of equally long ones the lower id first, each cut from left to
// right out of every stretch of text not yet consumed. Done literally that is one pass over the
// text for each of thousands of tokens; the scanner finds the same cuts in one pass from left to
// right and in constant memory (tests/text/special_splitter_test.cc holds it against the literal
// rule).
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/token_trie.h"
#include "text/vocabulary.h"

namespace foveate {

// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class SpecialSplitter {
 public:
  struct Cut {
    std::size_t begin = 0;
    std::size_t end = 0;
    TokenId id = 0;
  };

  explicit SpecialSplitter(const Vocabulary& vocabulary);

  // Hands out the cuts of one text in order.
  class Scanner {
   public:
    // Inside `verbatim` (ascending, disjoint) only user-defined tokens match, save the `reserved`
    // ones (sorted), and no other token may reach into it. All arguments must outlive the scanner.
    Scanner(const SpecialSplitter& splitter, std::string_view text,
            std::span<const TextRange> verbatim, std::span<const TokenId> reserved = {});
    std::optional<Cut> Next();

   private:
    // The longest token at `at` that ends by `limit`; an empty cut when there is none.
    Cut LongestAt(std::size_t at, std::size_t limit) const;
    // The first place from position_ on where a token that ends by `limit` begins.
    std::optional<Cut> First(std::size_t limit) const;

    const SpecialSplitter& splitter_;
    std::string_view text_;
    std::span<const TextRange> verbatim_;
    std::span<const TokenId> reserved_;
    std::size_t position_ = 0;
    std::vector<Cut> decided_;  // cuts to the right of what is still open, nearest last
  };

 private:
  SpecialSplitter(const Vocabulary& vocabulary, const std::vector<TokenId>& ids);

  // Whether a token may begin with this byte followed by that one; tokens of one byte allow all.
  using BytePairs = std::bitset<65536>;
  static std::size_t PairIndex(char first, char second) {
    return static_cast<std::size_t>(static_cast<unsigned char>(first)) << 8 |
           static_cast<unsigned char>(second);
  }

  const Vocabulary& vocabulary_;
  TokenTrie trie_;
  std::unique_ptr<BytePairs> starts_;
};

}  // namespace foveate
