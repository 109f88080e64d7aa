#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "foveate/error.h"
#include "tests/text/tokenizer_fixtures.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

namespace foveate {
namespace {

using Ids = std::vector<TokenId>;

struct Failure {
  ErrorCode code;
  std::string message;
};

Failure FailureOf(const GgufWriter& writer) {
  try {
    testing::Load(writer);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "loaded";
  return {};
}

void ExpectCorrupt(const GgufWriter& writer, const std::string& message) {
  const Failure failure = FailureOf(writer);
  EXPECT_EQ(failure.code, ErrorCode::kCorruptFile);
  EXPECT_EQ(failure.message, message);
}

testing::VocabularyParts Letters() {
  testing::VocabularyParts parts;
  for (const char* piece : {"a", "b", "c", "ab"}) parts.Add(piece);
  return parts;
}

GgufWriter Replacing(const GgufWriter& base, const std::string& key) {
  GgufWriter writer = base;
  writer.Remove(key);
  return writer;
}

TEST(TokenizerBadInput, MissingOrMisshapenArrays) {
  const GgufWriter llama = Letters().Writer("llama"), gpt2 = Letters().Writer("gpt2");
  ExpectCorrupt(Replacing(llama, "tokenizer.ggml.model"), "test.gguf: no tokenizer.ggml.model");
  ExpectCorrupt(Replacing(llama, "tokenizer.ggml.tokens"), "test.gguf: no tokenizer.ggml.tokens");
  ExpectCorrupt(Replacing(llama, "tokenizer.ggml.scores"), "test.gguf: no tokenizer.ggml.scores");
  ExpectCorrupt(Replacing(gpt2, "tokenizer.ggml.merges"), "test.gguf: no tokenizer.ggml.merges");

  GgufWriter writer = Replacing(llama, "tokenizer.ggml.tokens");
  writer.Add("tokenizer.ggml.tokens", std::vector<std::int32_t>{1, 2});
  ExpectCorrupt(writer, "test.gguf: tokenizer.ggml.tokens is not an array of strings");

  writer = Replacing(llama, "tokenizer.ggml.scores");
  writer.Add("tokenizer.ggml.scores", std::vector<float>{1, 2});
  ExpectCorrupt(writer, "test.gguf: tokenizer.ggml.scores is not an array of 4 32-bit floats");
  writer = Replacing(llama, "tokenizer.ggml.scores");
  writer.Add("tokenizer.ggml.scores",
             std::vector<float>{1, 2, std::numeric_limits<float>::quiet_NaN(), 3});
  ExpectCorrupt(writer, "test.gguf: tokenizer.ggml.scores[2] is nan, expected a finite number");

  writer = Replacing(llama, "tokenizer.ggml.token_type");
  writer.Add("tokenizer.ggml.token_type", std::vector<std::int32_t>{1, 1, 7, 1});
  ExpectCorrupt(writer, "test.gguf: tokenizer.ggml.token_type[2] is 7, expected 1 to 6");
  writer = Replacing(llama, "tokenizer.ggml.token_type");
  writer.Add("tokenizer.ggml.token_type", std::vector<std::int32_t>{1, 1, 1});
  ExpectCorrupt(writer,
                "test.gguf: tokenizer.ggml.token_type is not an array of 4 32-bit integers");
}

TEST(TokenizerBadInput, IdsOutsideTheVocabulary) {
  for (const char* key :
       {"bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"}) {
    GgufWriter writer = Letters().Writer("llama");
    writer.Add(std::string("tokenizer.ggml.") + key, std::uint32_t{4});
    ExpectCorrupt(writer, std::string("test.gguf: tokenizer.ggml.") + key +
                              " is 4, the vocabulary has 4 tokens");
  }
  const testing::LoadedTokenizer tokenizer = testing::Load(Letters().Writer("llama"));
  for (const TokenId id : {-1, 4, std::numeric_limits<TokenId>::max()}) {
    EXPECT_THROW(tokenizer->Decode(Ids{0, id}), Error);
    EXPECT_THROW(tokenizer->TokenText(id), Error);
    EXPECT_THROW(tokenizer->Piece(id), Error);
    EXPECT_THROW(tokenizer->Type(id), Error);
    EXPECT_THROW(StreamDecoder(*tokenizer).Add(id), Error);
  }
}

TEST(TokenizerBadInput, TypesAreOptional) {
  const testing::LoadedTokenizer tokenizer =
      testing::Load(Replacing(Letters().Writer("llama"), "tokenizer.ggml.token_type"));
  EXPECT_EQ(tokenizer->Type(3), TokenType::kNormal);
}

TEST(TokenizerBadInput, UnknownKindsAreRefusedWithTheList) {
  GgufWriter writer = Letters().Writer("gpt2");
  writer.Add("tokenizer.ggml.pre", "no-such-rule");
  const Failure failure = FailureOf(writer);
  EXPECT_EQ(failure.code, ErrorCode::kUnsupported);
  for (const char* part :
       {"\"no-such-rule\"", "smollm", "gpt-2", "llama-bpe", "qwen2", "default"}) {
    EXPECT_NE(failure.message.find(part), std::string::npos) << failure.message;
  }
  EXPECT_NO_THROW(testing::Load(writer, "gpt-2"));  // another rule may be asked for

  const Failure model = FailureOf(Letters().Writer("bert"));
  EXPECT_EQ(model.code, ErrorCode::kUnsupported);
  EXPECT_EQ(model.message,
            "test.gguf: tokenizer.ggml.model is \"bert\"; supported are gpt2, llama and t5");
}

TEST(TokenizerBadInput, AMissingPretokenizerIsWarnedOf) {
  const testing::WarningRecorder warnings;
  testing::Load(Letters().Writer("gpt2"));
  ASSERT_EQ(warnings.lines().size(), 1u);
  EXPECT_EQ(
      warnings.lines()[0],
      "test.gguf: no tokenizer.ggml.pre; \"default\" splits the text, which may suit the model "
      "badly");
}

TEST(TokenizerBadInput, OddTokensAndMergesAreWarnedOfOnce) {
  testing::VocabularyParts parts = Letters();
  parts.Add("a");
  parts.Add("b");
  parts.Add("");
  parts.Add("");
  parts.merges = {"a b", "a zz", "", "a", " a", "a b", "c c"};
  GgufWriter writer = parts.Writer("gpt2");
  writer.Add("tokenizer.ggml.pre", "gpt-2");
  const testing::WarningRecorder warnings;
  const testing::LoadedTokenizer tokenizer = testing::Load(writer);
  ASSERT_EQ(warnings.lines().size(), 3u);
  EXPECT_EQ(warnings.lines()[0], "test.gguf: 2 tokens are empty and never produced");
  EXPECT_EQ(warnings.lines()[1],
            "test.gguf: 2 tokens repeat the text of an earlier one (first: id 4) and are never "
            "produced");
  EXPECT_EQ(warnings.lines()[2],
            "test.gguf: 6 merges are skipped, they repeat others or name unknown tokens (first: "
            "tokenizer.ggml.merges[1])");
  EXPECT_EQ(tokenizer->Encode("aba"), (Ids{3, 0}));  // the first of two wins
  EXPECT_EQ(tokenizer->Decode(Ids{6, 4}), "a");
}

TEST(TokenizerBadInput, TokensTooLongToSearchForAreWarnedOf) {
  testing::VocabularyParts parts = Letters();
  parts.Add(std::string(2000, 'x'), TokenType::kControl);
  const testing::WarningRecorder warnings;
  testing::Load(parts.Writer("llama"));
  ASSERT_EQ(warnings.lines().size(), 1u);
  EXPECT_EQ(warnings.lines()[0],
            "test.gguf: 1 tokens are longer than 1024 bytes and not looked for in text");
}

TEST(TokenizerBadInput, TextBeyondTheLimitIsRefused) {
  const testing::LoadedTokenizer tokenizer = testing::Load(Letters().Writer("llama"));
  const std::string half(static_cast<std::size_t>(Tokenizer::kMostTextBytes / 2) + 1, 'a');
  const TextRun runs[] = {{half, true}, {half, true}};
  try {
    tokenizer->Encode(runs);
    FAIL() << "encoded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kLimit);
    EXPECT_STREQ(error.what(),
                 "the text has 67108866 bytes, at most 67108864 can be encoded at once");
  }
}

TEST(Pretokenizer, WhiteSpaceIsTheUnicodePropertyAndNothingElse) {
  // In the gpt-2 rule a run of white space leaves its last character alone in front of a digit
  // unless that is a space; anything else than white space is one piece with its like.
  const Pretokenizer pretokenizer("gpt-2");
  const auto pieces = [&](const std::string& text) {
    int count = 0;
    Pretokenizer::Reader reader(pretokenizer, text);
    for (std::string_view piece; reader.Next(piece);) ++count;
    return count;
  };
  const std::string kWhite[] = {
      "\t",     "\n",     "\v",     "\f",     "\r",     " ",      "\u0085", "\u00A0", "\u1680",
      "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008",
      "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};
  for (const std::string& white : kWhite)
    EXPECT_EQ(pieces("!" + white + "!"), white == " " ? 2 : 3);
  for (const std::string other : {"\u180E", "\u200B", "\u2060", "\uFEFF"}) {
    EXPECT_EQ(pieces("!" + other + "!"), 1);
  }
}

}  // namespace
}  // namespace foveate
