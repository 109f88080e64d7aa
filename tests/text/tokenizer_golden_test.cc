// Every string of the golden files, on the vocabularies they were made with.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/text/tokenizer_fixtures.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

namespace foveate {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

TEST(PretokenizerGolden, SplitsEveryText) {
  const json golden = testing::ReadGolden("pretokenize.json");
  for (const char* name : {"smollm", "gpt-2", "llama-bpe", "qwen2", "default"}) {
    const Pretokenizer pretokenizer(name);
    for (const json& c : golden["cases"]) {
      const std::string text = c["text"];
      std::vector<std::string> pieces;
      Pretokenizer::Reader reader(pretokenizer, text);
      for (std::string_view piece; reader.Next(piece);) pieces.emplace_back(piece);
      EXPECT_EQ(json(pieces), c[name]) << name << ": " << c["text"];
    }
  }
}

TEST(TokenizerGolden, Smollm2) {
  const auto tokenizer = testing::LoadCachedModel(testing::kSmollm2);
  if (!tokenizer) GTEST_SKIP() << "no " << testing::kSmollm2 << " in the cache";
  const json golden = testing::ReadGolden("tokenizer_smollm2.json");
  for (const json& c : golden["cases"]) {
    const std::string text = c["text"];
    const Ids ids = tokenizer->Encode(text, {.parse_special = true, .add_special = false});
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Encode(text, {.add_special = false}),
              c.value("ids_no_special", c["ids"]).get<Ids>())
        << c["text"];
    const std::string decoded =
        c.contains("detok_hex") ? testing::FromHex(c["detok_hex"].get<std::string>()) : text;
    EXPECT_EQ(tokenizer->Decode(ids, true), decoded) << c["text"];
  }
  for (const json& c : golden["invalid_utf8"]) {
    const std::string bytes = testing::FromHex(c["bytes_hex"].get<std::string>());
    EXPECT_EQ(tokenizer->Encode(bytes, {.parse_special = true, .add_special = false}),
              c["ids"].get<Ids>())
        << c["bytes_hex"];
  }
  for (const auto& [id, hex] : golden["pieces"].items()) {
    EXPECT_EQ(tokenizer->TokenText(std::stoi(id), true), testing::FromHex(hex.get<std::string>()));
  }
  EXPECT_EQ(tokenizer->EndOfGenerationIds(), (Ids{0, 2}));
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_FALSE(tokenizer->drops_leading_space());
}

TEST(TokenizerGolden, Gemma3) {
  const auto tokenizer = testing::LoadCachedModel(testing::kGemma3);
  if (!tokenizer) GTEST_SKIP() << "no " << testing::kGemma3 << " in the cache";
  const json golden = testing::ReadGolden("llm_gemma3.json")["tokenizer"];
  for (const json& c : golden["cases"]) {
    const std::string text = c["text"];
    const Ids ids = tokenizer->Encode(text, {.parse_special = true, .add_special = false});
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Encode(text, {.add_special = false}),
              c.value("ids_no_special", c["ids"]).get<Ids>())
        << c["text"];
    EXPECT_EQ(tokenizer->Decode(ids, true), c.value("detok", text)) << c["text"];
    Ids with_bos = c["ids"].get<Ids>();
    with_bos.insert(with_bos.begin(), 2);
    EXPECT_EQ(tokenizer->Encode(text, {.parse_special = true}), with_bos) << c["text"];
  }
  for (const json& c : golden["invalid"]) {
    EXPECT_EQ(
        tokenizer->Encode(testing::FromHex(c["hex"].get<std::string>()), {.add_special = false}),
        c["ids"].get<Ids>())
        << c["hex"];
  }
  for (const auto& [id, piece] : golden["pieces"].items()) {
    EXPECT_EQ(tokenizer->Piece(std::stoi(id)), piece.get<std::string>());
  }
  for (const auto& [file, count] : golden["file_counts"].items()) {
    EXPECT_EQ(tokenizer->Encode(testing::ReadTestFile(file), {.add_special = false}).size(),
              count.get<std::size_t>())
        << file;
  }
  EXPECT_EQ(tokenizer->EndOfGenerationIds(), (Ids{1, 106}));  // not 212, the HTML tag </s>
  EXPECT_EQ(tokenizer->Type(212), TokenType::kUserDefined);
}

TEST(TokenizerGolden, SentencePieceBpe) {
  const testing::LoadedTokenizer tokenizer = testing::LoadTinySentencePiece();
  const json golden = testing::ReadGolden("tokenizer_spm.json");
  ASSERT_FALSE(golden["cases"].empty());
  for (const json& c : golden["cases"]) {
    const std::string text = c["text"];
    const Ids ids = tokenizer->Encode(text, {.add_special = false});
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Encode(text), c["ids_with_bos"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Decode(ids), c["decoded"].get<std::string>()) << c["text"];
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), c["decoded"].get<std::string>());
  }
}

TEST(TokenizerGolden, Unigram) {
  const testing::LoadedTokenizer tokenizer = testing::Load(testing::GoldenUnigram());
  const json golden = testing::ReadGolden("tokenizer_unigram.json");
  ASSERT_FALSE(golden["cases"].empty());
  for (const json& c : golden["cases"]) {
    const std::string text = c["text"];
    Ids ids = tokenizer->Encode(text, {.add_special = false});
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Decode(ids), c["decoded"].get<std::string>()) << c["text"];
    ids.push_back(2);  // t5 adds EOS unless told otherwise
    EXPECT_EQ(tokenizer->Encode(text), ids) << c["text"];
  }
}

}  // namespace
}  // namespace foveate
