#include "eval/questions.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/throw.h"
#include "eval/windows.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

class Questions : public testing::Test {
 protected:
  // Of the writer's bytes; the tokenizer looks into them.
  const std::vector<std::byte> image_ =
      MakeTinyModel({.tokenizer = TinyTokenizer::kByteLevel}).Bytes();
  const GgufFile file_ = GgufFile::Parse(image_, "tiny");
  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::FromGguf(file_);

  std::string TextOf(const EvalCase& question) const { return tokenizer_->Decode(question.tokens); }
};

std::string Sentences(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "This is sentence " + std::to_string(i) + ". ";
  return text;
}

TEST_F(Questions, PasskeysHideTheirNumberAtItsDepth) {
  const std::vector<EvalCase> cases = PasskeyCases(*tokenizer_, 4096, 10, 1000);
  ASSERT_EQ(cases.size(), 10u);
  EXPECT_EQ(cases[0].key, "30776");  // of seeds 1000 and 1001
  EXPECT_EQ(cases[1].key, "72836");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const EvalCase& question = cases[i];
    EXPECT_EQ(question.number, static_cast<std::int64_t>(1000 + i));
    EXPECT_EQ(question.depth, kPasskeyDepths[i % 5]);
    EXPECT_LE(std::ssize(question.tokens) + kAnswerTokens, 4096);
    EXPECT_GE(std::ssize(question.tokens) + kAnswerTokens, 4096 - 100);  // no further line fits
    const std::string text = TextOf(question);
    EXPECT_TRUE(text.ends_with("What is the secret number? The secret number is"));
    const double at = static_cast<double>(text.find(question.key + ". Remember")) /
                      static_cast<double>(text.size());
    EXPECT_NEAR(at, question.depth, 0.05);
  }
}

TEST_F(Questions, FewTrialsAreSpreadOverTheDepths) {
  const std::vector<EvalCase> cases = PasskeyCases(*tokenizer_, 2048, 2, 1);
  EXPECT_EQ(cases[0].depth, 0.3);
  EXPECT_EQ(cases[1].depth, 0.7);
}

TEST_F(Questions, NeedlesStandBetweenSentencesOfTheSameText) {
  const std::string text = Sentences(4000);
  const std::vector<EvalCase> cases = NeedleCases(*tokenizer_, text, 2048, 10, 7);
  std::map<int, std::set<std::string>> starts;  // by round over the depths
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const EvalCase& question = cases[i];
    EXPECT_EQ(question.depth, kNeedleDepths[i % 5]);
    EXPECT_LE(std::ssize(question.tokens) + kAnswerTokens, 2048);
    std::string prompt = TextOf(question);
    const std::string needle = "The number of the blue boat is " + question.key + ". ";
    const std::size_t at = prompt.find(needle);
    ASSERT_NE(at, std::string::npos);
    EXPECT_NEAR(static_cast<double>(at) / static_cast<double>(prompt.size()), question.depth, 0.08);
    prompt.erase(at, needle.size());
    const std::string haystack = prompt.substr(0, prompt.find("\nQuestion:"));
    EXPECT_NE(text.find(haystack), std::string::npos) << haystack;
    starts[static_cast<int>(i / 5)].insert(haystack.substr(0, 200));
  }
  EXPECT_EQ(starts[0].size(), 1u);
  EXPECT_NE(starts[0], starts[1]);
}

TEST_F(Questions, RefuseWhatDoesNotFit) {
  EXPECT_THROW(PasskeyCases(*tokenizer_, 64, 1, 1), Error);
  EXPECT_THROW(NeedleCases(*tokenizer_, Sentences(10), 2048, 1, 1), Error);
}

TEST(Answers, AreTheFirstRunOfDigits) {
  EXPECT_TRUE(AnswersKey(" 12345.", "12345"));
  EXPECT_TRUE(AnswersKey(" 1 2 3 4 5 and 9", "12345"));
  EXPECT_TRUE(AnswersKey("It is 12345", "12345"));
  EXPECT_FALSE(AnswersKey("123456", "12345"));
  EXPECT_FALSE(AnswersKey("1234, 12345", "12345"));
  EXPECT_FALSE(AnswersKey("", "12345"));
}

TEST(Windows, AreSpreadOverTheTextAndBeginWithBos) {
  std::vector<TokenId> text(1000);
  for (int i = 0; i < 1000; ++i) text[i] = i;
  const TokenId bos[] = {7777};
  const std::vector<EvalCase> windows = PerplexityCases(text, bos, 100, 4);
  ASSERT_EQ(windows.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(windows[i].number, i * 250);
    ASSERT_EQ(windows[i].tokens.size(), 100u);
    EXPECT_EQ(windows[i].tokens[0], 7777);
    EXPECT_EQ(windows[i].tokens[1], i * 250);
    EXPECT_EQ(windows[i].tokens[99], i * 250 + 98);
  }
  EXPECT_EQ(PerplexityCases(text, {}, 100, 99).size(), 10u);  // no more than do not overlap
  EXPECT_THROW(PerplexityCases(text, {}, 1002, 1), Error);
  EXPECT_THROW(PerplexityCases(text, {}, 101, 1), Error);
}

}  // namespace
}  // namespace foveate
