// Both BPE kinds and unigram against plain programs that follow their definitions literally.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/text/tokenizer_fixtures.h"
#include "text/tokenizer.h"

namespace foveate {
namespace {

using Ids = std::vector<TokenId>;

std::string RandomLetters(std::mt19937_64& random, std::size_t length, std::size_t letters) {
  std::string text;
  for (std::size_t i = 0; i < length; ++i) text += static_cast<char>('a' + random() % letters);
  return text;
}

// Lengths around the places where the merging method changes, mostly short.
std::size_t RandomLength(std::mt19937_64& random) {
  constexpr std::size_t kMost[] = {4, 12, 30, 300};
  return 1 + random() % kMost[random() % std::size(kMost)];
}

// Rescans all pairs for every merge. `order` is lower for what merges first, infinite for never.
std::vector<std::string> NaiveMerge(
    std::vector<std::string> symbols,
    const std::function<double(const std::string&, const std::string&)>& order) {
  for (;;) {
    std::size_t best = 0;
    double best_order = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const double own = order(symbols[i], symbols[i + 1]);
      if (own < best_order) {
        best = i;
        best_order = own;
      }
    }
    if (std::isinf(best_order)) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::vector<std::string> Letters(const std::string& text) {
  std::vector<std::string> letters;
  for (const char c : text) letters.emplace_back(1, c);
  return letters;
}

TEST(ByteBpe, AgreesWithRescanningOnRandomMerges) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 60; ++round) {
    testing::VocabularyParts parts;
    const std::size_t letters = 1 + random() % 4;
    for (std::size_t i = 0; i < letters; ++i) parts.Add(std::string(1, static_cast<char>('a' + i)));
    std::map<std::string, TokenId> ids;
    for (std::size_t i = 0; i < letters; ++i) ids[parts.pieces[i]] = static_cast<TokenId>(i);
    std::map<std::pair<std::string, std::string>, double> ranks;
    for (std::size_t i = random() % 60; i > 0; --i) {
      const std::string left = parts.pieces[random() % parts.pieces.size()];
      const std::string right = parts.pieces[random() % parts.pieces.size()];
      if (!ranks.try_emplace({left, right}, static_cast<double>(parts.merges.size())).second)
        continue;
      parts.merges.push_back(left + " " + right);
      // Several merges may lead to one token.
      if (!ids.contains(left + right)) ids[left + right] = parts.Add(left + right);
    }
    GgufWriter writer = parts.Writer("gpt2");
    writer.Add("tokenizer.ggml.pre", "gpt-2");
    const testing::LoadedTokenizer tokenizer = testing::Load(writer);
    for (int text_number = 0; text_number < 60; ++text_number) {
      const std::string text = RandomLetters(random, RandomLength(random), letters);
      Ids expected;
      for (const std::string& symbol :
           NaiveMerge(Letters(text), [&](const std::string& a, const std::string& b) {
             const auto rank = ranks.find({a, b});
             return rank == ranks.end() ? std::numeric_limits<double>::infinity() : rank->second;
           })) {
        expected.push_back(ids.at(symbol));
      }
      ASSERT_EQ(tokenizer->Encode(text), expected)
          << text << " with merges " << nlohmann::json(parts.merges);
    }
  }
}

// A vocabulary of random pieces over a few letters; scores repeat, some letters have no piece, some
// pieces are unused.
struct RandomPieces {
  testing::VocabularyParts parts;
  std::map<std::string, TokenId> ids;
  std::size_t letters;

  RandomPieces(std::mt19937_64& random, bool with_unused) : letters(1 + random() % 4) {
    parts.AddByteTokens();
    for (std::size_t i = 0; i < letters; ++i) {
      if (random() % 4 != 0)
        AddPiece(std::string(1, static_cast<char>('a' + i)), TokenType::kNormal, random);
    }
    for (std::size_t i = random() % 50; i > 0; --i) {
      const bool unused = with_unused && random() % 4 == 0;
      AddPiece(RandomLetters(random, 2 + random() % 5, letters),
               unused ? TokenType::kUnused : TokenType::kNormal, random);
    }
  }

  void AddPiece(const std::string& piece, TokenType type, std::mt19937_64& random) {
    if (ids.contains(piece)) return;
    ids[piece] = parts.Add(piece, type, -static_cast<float>(random() % 20) / 2 + 1);
  }
  bool Unused(const std::string& piece) const {
    const auto id = ids.find(piece);
    return id != ids.end() && parts.types[static_cast<std::size_t>(id->second)] ==
                                  static_cast<std::int32_t>(TokenType::kUnused);
  }
  double Score(const std::string& piece) const {
    return parts.scores[static_cast<std::size_t>(ids.at(piece))];
  }
  testing::LoadedTokenizer Load(std::string_view model) const {
    GgufWriter writer = parts.Writer(model);
    writer.Add("tokenizer.ggml.add_space_prefix", false);
    return testing::Load(writer);
  }
};

// A node of the history of merges.
struct Merged {
  std::string text;
  std::vector<Merged> parts;
};

void Collect(const Merged& node, const RandomPieces& pieces, Ids& ids) {
  if (!node.parts.empty() && pieces.Unused(node.text)) {
    for (const Merged& part : node.parts) Collect(part, pieces, ids);
  } else if (pieces.ids.contains(node.text)) {
    ids.push_back(pieces.ids.at(node.text));
  } else {
    for (const char c : node.text) ids.push_back(static_cast<unsigned char>(c));
  }
}

Ids NaiveSentencePiece(const RandomPieces& pieces, const std::string& text) {
  std::vector<Merged> symbols;
  for (const std::string& letter : Letters(text)) symbols.push_back({letter, {}});
  for (;;) {
    std::size_t best = symbols.size();
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const std::string joined = symbols[i].text + symbols[i + 1].text;
      if (!pieces.ids.contains(joined)) continue;
      if (best == symbols.size() ||
          pieces.Score(joined) > pieces.Score(symbols[best].text + symbols[best + 1].text)) {
        best = i;
      }
    }
    if (best == symbols.size()) break;
    Merged merged{symbols[best].text + symbols[best + 1].text, {symbols[best], symbols[best + 1]}};
    symbols[best] = std::move(merged);
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const Merged& symbol : symbols) Collect(symbol, pieces, ids);
  return ids;
}

TEST(SentencePieceBpe, AgreesWithRescanningOnRandomPieces) {
  std::mt19937_64 random(12);
  for (int round = 0; round < 80; ++round) {
    const RandomPieces pieces(random, round % 2 == 1);
    const testing::LoadedTokenizer tokenizer = pieces.Load("llama");
    for (int text_number = 0; text_number < 40; ++text_number) {
      const std::string text = RandomLetters(random, RandomLength(random), pieces.letters);
      ASSERT_EQ(tokenizer->Encode(text), NaiveSentencePiece(pieces, text))
          << text << " with pieces " << nlohmann::json(pieces.parts.pieces);
    }
  }
}

// The greatest sum of scores over all splits.
double NaiveBestScore(const RandomPieces& pieces, const std::string& text, double missing) {
  std::vector<double> best(text.size() + 1, -std::numeric_limits<double>::infinity());
  best[0] = 0;
  for (std::size_t end = 1; end <= text.size(); ++end) {
    for (std::size_t begin = 0; begin < end; ++begin) {
      const std::string piece = text.substr(begin, end - begin);
      if (pieces.ids.contains(piece)) {
        best[end] = std::max(best[end], best[begin] + pieces.Score(piece));
      } else if (piece.size() == 1) {
        best[end] = std::max(best[end], best[begin] + missing);
      }
    }
  }
  return best.back();
}

TEST(Unigram, FindsTheGreatestSumOfScores) {
  std::mt19937_64 random(13);
  for (int round = 0; round < 60; ++round) {
    const RandomPieces pieces(random, false);
    double missing = 0;
    if (!pieces.ids.empty()) missing = std::numeric_limits<double>::infinity();
    for (const auto& [piece, id] : pieces.ids) missing = std::min(missing, pieces.Score(piece));
    missing -= 10;
    const testing::LoadedTokenizer tokenizer = pieces.Load("t5");
    for (int text_number = 0; text_number < 30; ++text_number) {
      const std::string text = RandomLetters(random, 1 + random() % 60, pieces.letters);
      const Ids ids = tokenizer->Encode(text);
      EXPECT_EQ(tokenizer->Decode(ids), text);
      double score = 0;
      for (const TokenId id : ids) {
        score += id < 256 ? missing : pieces.parts.scores[static_cast<std::size_t>(id)];
      }
      ASSERT_NEAR(score, NaiveBestScore(pieces, text, missing), 1e-9) << text;
    }
  }
}

TEST(Unigram, UnknownNeighboursShareOneToken) {
  testing::VocabularyParts parts;
  parts.Add("<unk>", TokenType::kUnknown);
  parts.Add("▁", TokenType::kNormal, -1);
  parts.Add("a", TokenType::kNormal, -1);
  const testing::LoadedTokenizer tokenizer = testing::Load(parts.Writer("t5"));
  EXPECT_EQ(tokenizer->Encode("xyaz"), (Ids{1, 0, 2, 0}));
}

TEST(Unigram, ExtraSpacesAreRemovedWhereTheVocabularySaysSo) {
  testing::VocabularyParts parts;
  parts.Add("▁", TokenType::kNormal, -1);
  parts.Add("a", TokenType::kNormal, -1);
  GgufWriter writer = parts.Writer("t5");
  writer.Add("tokenizer.ggml.remove_extra_whitespaces", true);
  const testing::LoadedTokenizer tokenizer = testing::Load(writer);
  EXPECT_EQ(tokenizer->Encode("  a   a "), (Ids{0, 1, 0, 1}));
  EXPECT_EQ(tokenizer->Encode("   "), Ids{});
}

TEST(ByteBpe, WholePiecesMayBeTakenUnmerged) {
  testing::VocabularyParts parts;
  parts.AddByteAlphabet();
  const TokenId abc = parts.Add("abc");  // no merge leads to it
  const TokenId spaced = parts.Add("Ġabc");
  GgufWriter writer = parts.Writer("gpt2");
  writer.Add("tokenizer.ggml.pre", "llama-bpe");
  EXPECT_EQ(testing::Load(writer)->Encode("abc abc"), (Ids{abc, spaced}));
  EXPECT_EQ(testing::Load(writer, "qwen2")->Encode("abc").size(), 3u);
}

TEST(ByteBpe, BytesWithoutATokenAreLeftOutAndCounted) {
  testing::VocabularyParts parts;
  const TokenId a = parts.Add("a");
  GgufWriter writer = parts.Writer("gpt2");
  writer.Add("tokenizer.ggml.pre", "gpt-2");
  const testing::LoadedTokenizer tokenizer = testing::Load(writer);
  const testing::WarningRecorder warnings;
  EXPECT_EQ(tokenizer->Encode("abéa"), (Ids{a, a}));
  ASSERT_EQ(warnings.lines().size(), 1u);
  EXPECT_EQ(warnings.lines()[0], "3 bytes of the text have no token and are left out");
}

}  // namespace
}  // namespace foveate
