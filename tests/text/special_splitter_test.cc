#include "text/special_splitter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/text/tokenizer_fixtures.h"

namespace foveate {
namespace {

using Cut = SpecialSplitter::Cut;

std::string Show(const std::vector<Cut>& cuts) {
  std::string text;
  for (const Cut& cut : cuts) {
    text += std::to_string(cut.begin) + "-" + std::to_string(cut.end) + ":" +
            std::to_string(cut.id) + " ";
  }
  return text;
}

// The rule, word for word: every token in turn, over every fragment that is still text.
std::vector<Cut> CutByTheRule(const Vocabulary& vocabulary, std::string_view text,
                              const std::vector<TextRange>& verbatim) {
  std::vector<TokenId> order;
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.Type(id) != TokenType::kNormal) order.push_back(id);
  }
  std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    const std::size_t a_size = vocabulary.Piece(a).size(), b_size = vocabulary.Piece(b).size();
    return a_size != b_size ? a_size > b_size : a < b;
  });
  const auto reaches_into_verbatim = [&](std::size_t begin, std::size_t end) {
    return std::any_of(verbatim.begin(), verbatim.end(), [&](const TextRange& range) {
      return begin < range.end && range.begin < end;
    });
  };
  std::vector<Cut> cuts;
  for (const TokenId id : order) {
    const std::string_view piece = vocabulary.Piece(id);
    for (std::size_t at = 0; at + piece.size() <= text.size();) {
      const Cut cut{at, at + piece.size(), id};
      const bool taken = std::any_of(cuts.begin(), cuts.end(), [&](const Cut& other) {
        return cut.begin < other.end && other.begin < cut.end;
      });
      const bool forbidden = vocabulary.Type(id) != TokenType::kUserDefined &&
                             reaches_into_verbatim(cut.begin, cut.end);
      if (text.substr(at, piece.size()) == piece && !taken && !forbidden) {
        cuts.push_back(cut);
        at = cut.end;
      } else {
        ++at;
      }
    }
  }
  std::sort(cuts.begin(), cuts.end(), [](const Cut& a, const Cut& b) { return a.begin < b.begin; });
  return cuts;
}

std::vector<Cut> CutByScanner(const SpecialSplitter& splitter, std::string_view text,
                              const std::vector<TextRange>& verbatim) {
  std::vector<Cut> cuts;
  SpecialSplitter::Scanner scanner(splitter, text, verbatim);
  while (const auto cut = scanner.Next()) cuts.push_back(*cut);
  return cuts;
}

std::string RandomLetters(std::mt19937_64& random, std::size_t length, std::size_t letters) {
  std::string text;
  for (std::size_t i = 0; i < length; ++i) text += static_cast<char>('a' + random() % letters);
  return text;
}

// Few letters and short tokens, so that nearly everything overlaps.
TEST(SpecialSplitter, AgreesWithTheRuleOnRandomVocabularies) {
  std::mt19937_64 random(7);
  for (int vocabulary_number = 0; vocabulary_number < 200; ++vocabulary_number) {
    testing::VocabularyParts parts;
    const std::size_t letters = 1 + random() % 3;
    const std::size_t longest = 1 + random() % 7;
    parts.Add("normal");
    for (std::size_t i = random() % 12 + 1; i > 0; --i) {
      const TokenType type = random() % 2 == 0 ? TokenType::kUserDefined : TokenType::kControl;
      const std::string piece = RandomLetters(random, 1 + random() % longest, letters);
      if (std::find(parts.pieces.begin(), parts.pieces.end(), piece) == parts.pieces.end()) {
        parts.Add(piece, type);
      }
    }
    const std::vector<std::byte> image = parts.Writer("llama").Bytes();
    const Vocabulary vocabulary(GgufFile::Parse(image, "random"));
    const SpecialSplitter splitter(vocabulary);
    for (int text_number = 0; text_number < 50; ++text_number) {
      const std::string text = RandomLetters(random, random() % 40, letters + random() % 2);
      std::vector<TextRange> verbatim;
      for (std::size_t at = random() % 10; at < text.size() && random() % 3 != 0;) {
        const std::size_t end = std::min(text.size(), at + 1 + random() % 10);
        verbatim.push_back({at, end});
        at = end + random() % 8;
      }
      const std::vector<Cut> expected = CutByTheRule(vocabulary, text, verbatim);
      ASSERT_EQ(Show(CutByScanner(splitter, text, verbatim)), Show(expected))
          << "text " << text << ", tokens " << nlohmann::json(parts.pieces) << ", types "
          << nlohmann::json(parts.types) << ", " << verbatim.size() << " verbatim ranges";
    }
  }
}

TEST(SpecialSplitter, ATokenToTheRightMayWinAChain) {
  testing::VocabularyParts parts;
  parts.Add("abc", TokenType::kUserDefined);    // 0
  parts.Add("cdef", TokenType::kUserDefined);   // 1
  parts.Add("fghij", TokenType::kUserDefined);  // 2
  parts.Add("ab", TokenType::kUserDefined);     // 3
  parts.Add("de", TokenType::kUserDefined);     // 4
  const std::vector<std::byte> image = parts.Writer("llama").Bytes();
  const Vocabulary vocabulary(GgufFile::Parse(image, "chain"));
  const SpecialSplitter splitter(vocabulary);
  // fghij takes f from cdef, which therefore leaves c to abc; de still stands.
  EXPECT_EQ(Show(CutByScanner(splitter, "abcdefghij", {})), "0-3:0 3-5:4 5-10:2 ");
  EXPECT_EQ(Show(CutByScanner(splitter, "abcdefghi", {})), "0-2:3 2-6:1 ");
}

TEST(SpecialSplitter, WithoutSuchTokensThereAreNoCuts) {
  testing::VocabularyParts parts;
  parts.Add("a");
  const std::vector<std::byte> image = parts.Writer("llama").Bytes();
  const Vocabulary vocabulary(GgufFile::Parse(image, "none"));
  EXPECT_TRUE(CutByScanner(SpecialSplitter(vocabulary), "aaa", {}).empty());
}

}  // namespace
}  // namespace foveate
