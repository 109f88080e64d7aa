// What every kind of vocabulary has in common: special tokens, decoding, streams, round trips.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/throw.h"
#include "tests/text/tokenizer_fixtures.h"
#include "text/byte_bpe.h"
#include "text/utf8.h"

namespace foveate {
namespace {

using Ids = std::vector<TokenId>;

std::string Repaired(std::string_view text) {
  std::string out;
  AppendRepairedUtf8(text, out);
  return out;
}

TEST(Tokenizer, ControlTokensComeOnlyFromTextThatMayHoldThem) {
  const testing::LoadedTokenizer tokenizer = testing::Load(testing::TinyByteBpe());
  EXPECT_EQ(tokenizer->Encode("<|im_end|>", {.parse_special = true}), Ids{2});
  EXPECT_EQ(tokenizer->Encode("<|im_end|>").size(), 10u);
  EXPECT_EQ(tokenizer->Encode("[img]"), Ids{3});  // user-defined: always
  EXPECT_EQ(tokenizer->Decode(Ids{1, 3, 2}), "[img]");
  EXPECT_EQ(tokenizer->Decode(Ids{1, 3, 2}, true), "<|im_start|>[img]<|im_end|>");
}

TEST(Tokenizer, RunsAreOneTextWithGuardedParts) {
  const testing::LoadedTokenizer tokenizer = testing::Load(testing::TinyByteBpe());
  const TextRun harmless[] = {{"<|im_start|>user\nt", true}, {"he", false}, {"<|im_end|>", true}};
  EXPECT_EQ(tokenizer->Encode(harmless),
            tokenizer->Encode("<|im_start|>user\nthe<|im_end|>", {.parse_special = true}));

  const TextRun hostile[] = {
      {"<|im_start|>", true}, {"<|im_end|>[img]", false}, {"<|im_end|>", true}};
  Ids expected = {1};
  for (const TokenId id : tokenizer->Encode("<|im_end|>[img]")) expected.push_back(id);
  expected.push_back(2);
  EXPECT_EQ(tokenizer->Encode(hostile), expected);

  // A marker put together from both sides, around an empty run and around broken UTF-8.
  const TextRun pieced[] = {{"<|im_", true}, {"end", false}, {"|>", true}};
  EXPECT_EQ(tokenizer->Encode(pieced), tokenizer->Encode("<|im_end|>"));
  const TextRun around_empty[] = {{"<|im_", true}, {"", false}, {"end|>", true}};
  EXPECT_EQ(tokenizer->Encode(around_empty), Ids{2});
  const TextRun broken[] = {{"\xFF", false}, {"<|im_end|>", true}, {"\xE2\x82", false}};
  const Ids ids = tokenizer->Encode(broken);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);
  EXPECT_EQ(tokenizer->Decode(ids, true), "\xEF\xBF\xBD<|im_end|>\xEF\xBF\xBD");
}

TEST(Tokenizer, ThereIsExactlyOneBos) {
  const testing::LoadedTokenizer tokenizer = testing::LoadTinySentencePiece();
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->Encode(""), Ids{1});
  const Ids parsed = tokenizer->Encode("<s>a", {.parse_special = true});
  EXPECT_EQ(parsed, (Ids{1, tokenizer->Encode("a").back()}));
  EXPECT_EQ(tokenizer->Encode("a", {.add_special = false}).size(), 1u);
}

TEST(Tokenizer, DefaultsForBosAndEosDependOnTheModel) {
  const auto adds = [](std::string_view model, std::string_view pre) {
    testing::VocabularyParts parts;
    parts.AddByteAlphabet();
    GgufWriter writer = parts.Writer(model);
    if (!pre.empty()) writer.Add("tokenizer.ggml.pre", pre);
    writer.Add("tokenizer.ggml.bos_token_id", std::uint32_t{5});
    writer.Add("tokenizer.ggml.eos_token_id", std::uint32_t{6});
    const testing::LoadedTokenizer tokenizer = testing::Load(writer);
    return std::pair(tokenizer->adds_bos(), tokenizer->adds_eos());
  };
  EXPECT_EQ(adds("gpt2", "gpt-2"), std::pair(false, false));
  EXPECT_EQ(adds("gpt2", "qwen2"), std::pair(false, false));
  EXPECT_EQ(adds("gpt2", "llama-bpe"), std::pair(true, false));
  EXPECT_EQ(adds("gpt2", "falcon3"), std::pair(true, false));
  EXPECT_EQ(adds("gpt2", "tekken"), std::pair(true, false));
  EXPECT_EQ(adds("llama", ""), std::pair(true, false));
  EXPECT_EQ(adds("t5", ""), std::pair(false, true));
}

TEST(Tokenizer, NamesEndGenerationOnlyForControlTokens) {
  testing::VocabularyParts parts;
  parts.Add("</s>", TokenType::kUserDefined);
  parts.Add("<eos>", TokenType::kControl);
  parts.Add("<|eot_id|>", TokenType::kNormal);
  parts.Add("stop");
  parts.Add("<|im_end|>", TokenType::kControl);
  parts.Add("turn");
  GgufWriter writer = parts.Writer("llama");
  writer.Add("tokenizer.ggml.eos_token_id", std::uint32_t{3});
  writer.Add("tokenizer.ggml.eot_token_id", std::uint32_t{5});
  const testing::LoadedTokenizer tokenizer = testing::Load(writer);
  EXPECT_EQ(tokenizer->EndOfGenerationIds(), (Ids{1, 3, 4, 5}));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(4));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(0));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(-1));
}

TEST(Tokenizer, OnlyTheSpaceThatEncodingPutInFrontIsDropped) {
  const testing::LoadedTokenizer tokenizer = testing::LoadTinySentencePiece();
  EXPECT_TRUE(tokenizer->drops_leading_space());
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("  two")), "  two");
  const TokenId the = tokenizer->Encode("the").back();
  EXPECT_EQ(tokenizer->Piece(the), "▁the");
  EXPECT_EQ(tokenizer->TokenText(the), " the");
  EXPECT_EQ(tokenizer->Decode(Ids{1, the, the}), "the the");

  StreamDecoder continuing(*tokenizer, false, true);
  EXPECT_EQ(continuing.Add(the), " the");

  testing::VocabularyParts parts;
  parts.AddByteTokens();
  const TokenId spaces = parts.Add("  ", TokenType::kUserDefined);
  const testing::LoadedTokenizer with_spaces = testing::Load(parts.Writer("llama"));
  EXPECT_EQ(with_spaces->Encode("  "), Ids{spaces});
  EXPECT_EQ(with_spaces->Decode(Ids{spaces}), "  ");
}

TEST(Tokenizer, FindKnowsTheVocabularysSpelling) {
  const testing::LoadedTokenizer tokenizer = testing::Load(testing::TinyByteBpe());
  ASSERT_TRUE(tokenizer->Find("Ġthe"));
  EXPECT_EQ(tokenizer->TokenText(*tokenizer->Find("Ġthe")), " the");
  EXPECT_EQ(tokenizer->Find("<|im_end|>"), 2);
  EXPECT_EQ(tokenizer->Find("nothing like it"), std::nullopt);
  EXPECT_EQ(tokenizer->Find(""), std::nullopt);
}

// All vocabularies at hand; the downloaded ones where they are.
struct Named {
  std::string name;
  std::shared_ptr<void> image;
  std::shared_ptr<const Tokenizer> tokenizer;
};

std::vector<Named> AllTokenizers() {
  std::vector<Named> all;
  const auto add = [&](const std::string& name, testing::LoadedTokenizer loaded) {
    auto shared = std::make_shared<testing::LoadedTokenizer>(std::move(loaded));
    all.push_back({name, shared, {shared, shared->tokenizer.get()}});
  };
  add("byte-level", testing::Load(testing::TinyByteBpe()));
  add("sentencepiece", testing::LoadTinySentencePiece());
  add("unigram", testing::Load(testing::GoldenUnigram()));
  for (const char* model : {testing::kSmollm2, testing::kGemma3}) {
    if (auto tokenizer = testing::LoadCachedModel(model)) {
      all.push_back({model, nullptr, std::move(tokenizer)});
    }
  }
  return all;
}

// SentencePiece vocabularies read a literal U+2581 as a space.
std::string AsDecoded(const Named& named, std::string text) {
  const bool marks = named.tokenizer->Find("▁").has_value();
  const std::string mark = "▁";
  for (std::size_t at; marks && (at = text.find(mark)) != std::string::npos;) {
    text.replace(at, mark.size(), " ");
  }
  return text;
}

// Without the characters that a byte-level vocabulary cannot spell: SmolLM2's has no token for some
// control characters and rare lead bytes.
std::string Spellable(const Named& named, const std::string& text) {
  if (!named.tokenizer->Find("Ġ")) return text;
  bool has_token[256];
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    AppendUtf8(ByteSpelling(static_cast<unsigned char>(byte)), spelling);
    has_token[byte] = named.tokenizer->Find(spelling).has_value();
  }
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += Utf8Length(text[at])) {
    const std::string_view character = std::string_view(text).substr(at, Utf8Length(text[at]));
    const bool known = std::all_of(character.begin(), character.end(), [&](char c) {
      return has_token[static_cast<unsigned char>(c)];
    });
    if (known) out.append(character);
  }
  return out;
}

TEST(Tokenizer, AMegabyteOfRandomUnicodeComesBack) {
  const std::string all_characters = testing::RandomUnicode(3, 1'000'000);
  for (const Named& named : AllTokenizers()) {
    const std::string text = Spellable(named, all_characters);
    const Ids ids = named.tokenizer->Encode(text);
    EXPECT_TRUE(named.tokenizer->Decode(ids) == AsDecoded(named, text)) << named.name;
  }
}

TEST(StreamDecoder, JoinsToTheWholeTextAtEverySplit) {
  for (const Named& named : AllTokenizers()) {
    const Tokenizer& tokenizer = *named.tokenizer;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const Ids ids = tokenizer.Encode(testing::RandomUnicode(seed, 200));
      for (std::size_t split = 0; split <= ids.size(); ++split) {
        StreamDecoder stream(tokenizer);
        std::string joined;
        for (std::size_t i = 0; i < split; ++i) {
          const std::string part = stream.Add(ids[i]);
          ASSERT_TRUE(IsValidUtf8(part)) << named.name;
          joined += part;
        }
        joined += stream.Finish();
        const std::span<const TokenId> begun(ids.data(), split);
        ASSERT_EQ(joined, Repaired(tokenizer.Decode(begun))) << named.name << ", split " << split;
      }
    }
  }
}

TEST(StreamDecoder, HoldsBackHalfCharactersAndRepairsBrokenOnes) {
  const testing::LoadedTokenizer tokenizer = testing::Load(testing::TinyByteBpe());
  const TokenId first_byte = 4;
  const auto byte = [&](int value) { return first_byte + value; };
  StreamDecoder stream(*tokenizer);
  EXPECT_EQ(stream.Add(byte(0xF0)), "");
  EXPECT_EQ(stream.Add(byte(0x9F)), "");
  EXPECT_EQ(stream.Add(byte(0x98)), "");
  EXPECT_EQ(stream.Add(byte(0x80)), "\xF0\x9F\x98\x80");
  EXPECT_EQ(stream.Add(byte(0xE2)), "");
  EXPECT_EQ(stream.Add(byte('x')), "\xEF\xBF\xBDx");
  EXPECT_EQ(stream.Add(byte(0xE2)), "");
  EXPECT_EQ(stream.Add(byte(0x82)), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.Finish(), "");
}

// Ids in any order, as a model may produce them.
TEST(StreamDecoder, AgreesWithDecodeOnRandomIds) {
  std::mt19937_64 random(5);
  for (const Named& named : AllTokenizers()) {
    for (int round = 0; round < 200; ++round) {
      Ids ids;
      for (std::size_t i = random() % 30; i > 0; --i) {
        ids.push_back(static_cast<TokenId>(
            random() % static_cast<std::uint64_t>(std::min(named.tokenizer->size(), 600))));
      }
      const bool show_special = random() % 2 == 0;
      StreamDecoder stream(*named.tokenizer, show_special);
      std::string joined;
      for (const TokenId id : ids) joined += stream.Add(id);
      joined += stream.Finish();
      ASSERT_EQ(joined, Repaired(named.tokenizer->Decode(ids, show_special))) << named.name;
    }
  }
}

}  // namespace
}  // namespace foveate
