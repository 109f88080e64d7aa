// The bounds that the product promises, in processor time, so that a busy machine does not matter.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/build_kind.h"
#include "tests/support/speed.h"
#include "tests/text/tokenizer_fixtures.h"
#include "text/tokenizer.h"

namespace foveate {
namespace {

using testing::BestCpuSeconds;
using testing::CpuSeconds;

// Anything quadratic would take minutes.
void ExpectLinear(const Tokenizer& tokenizer, const std::string& name,
                  const std::vector<std::string>& characters) {
  for (const std::string& character : characters) {
    std::string text;
    while (text.size() < 1'000'000) text += character;
    const double seconds = CpuSeconds([&] { tokenizer.Encode(text, {.parse_special = true}); });
    EXPECT_LT(seconds, kFullSpeed ? 2 : 20) << name << ", a megabyte of \"" << character << '"';
  }
}

TEST(TokenizerSpeed, AMegabyteOfOneCharacterTakesUnderTwoSeconds) {
  const std::vector<std::string> all = {
      "a", " ",  "\n", "\t", "1",      ".",    "<",
      "é", "日", "😀", "▁",  "\u0301", "\xFF", std::string(1, '\0')};
  ExpectLinear(*testing::Load(testing::TinyByteBpe()), "byte-level", all);
  ExpectLinear(*testing::LoadTinySentencePiece(), "sentencepiece", all);
  ExpectLinear(*testing::Load(testing::GoldenUnigram()), "unigram", all);
  for (const char* model : {testing::kSmollm2, testing::kGemma3}) {
    if (const auto tokenizer = testing::LoadCachedModel(model))
      ExpectLinear(*tokenizer, model, all);
  }
  // What the other splitting rules might backtrack over.
  for (const char* pre : {"llama-bpe", "qwen2", "default", "tekken", "smollm"}) {
    ExpectLinear(*testing::Load(testing::TinyByteBpe(), pre), pre,
                 {"A", " ", "\n", "\r", "\u00A0 "});
  }
}

TEST(TokenizerSpeed, LoadsAndEncodesFastEnough) {
  if (!kFullSpeed) GTEST_SKIP() << "not a build for measuring";
  const auto smollm2 = testing::LoadCachedModel(testing::kSmollm2);
  if (!smollm2) GTEST_SKIP() << "no " << testing::kSmollm2 << " in the cache";
  const std::string text = testing::ReadTestFile("kjv_judges.txt");
  EXPECT_LT(BestCpuSeconds([&] { smollm2->Encode(text); }), static_cast<double>(text.size()) / 5e6);
  EXPECT_LT(BestCpuSeconds([] { testing::LoadCachedModel(testing::kSmollm2); }), 0.1);
  if (!testing::LoadCachedModel(testing::kGemma3)) GTEST_SKIP() << "no " << testing::kGemma3;
  EXPECT_LT(BestCpuSeconds([] { testing::LoadCachedModel(testing::kGemma3); }), 0.25);
}

}  // namespace
}  // namespace foveate
