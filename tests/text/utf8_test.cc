#include "text/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace foveate {
namespace {

std::string Repaired(std::string_view text) {
  std::string out;
  AppendRepairedUtf8(text, out);
  return out;
}

constexpr const char* kBad = "\xEF\xBF\xBD";

TEST(Utf8, EveryScalarValueSurvivesWritingAndReading) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(code, text);
    const Utf8Step step = ReadUtf8(text, 0);
    ASSERT_EQ(step.status, Utf8Step::Status::kValid) << std::hex << static_cast<unsigned>(code);
    ASSERT_EQ(step.code, code);
    ASSERT_EQ(step.length, text.size());
    ASSERT_EQ(Utf8Length(text[0]), text.size());
  }
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndWhatIsTooLarge) {
  for (const char* text :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\x80", "\xFF"}) {
    EXPECT_FALSE(IsValidUtf8(text));
    EXPECT_EQ(ReadUtf8(text, 0).status, Utf8Step::Status::kInvalid);
  }
  for (const char* text :
       {"", "plain", "\xC2\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsValidUtf8(text));
  }
}

TEST(Utf8, ReplacesEachMaximalInvalidPart) {
  const std::string bad = kBad;
  EXPECT_EQ(Repaired("ab\xFF\xFE"
                     "cd"),
            "ab" + bad + bad + "cd");
  EXPECT_EQ(Repaired("\xE2\x82"), bad);  // begun well: one
  EXPECT_EQ(Repaired("\xE2(\xA1"), bad + "(" + bad);
  EXPECT_EQ(Repaired("\xED\xA0\x80"), bad + bad + bad);  // a surrogate: each byte by itself
  EXPECT_EQ(Repaired("\xF0\x9F\x98"
                     "A"),
            bad + "A");
  EXPECT_EQ(Repaired("\xF4\x90\x80\x80"), bad + bad + bad + bad);
  EXPECT_EQ(Repaired("long ascii before \xC3"), "long ascii before " + bad);
  EXPECT_EQ(Repaired(std::string("\0\xC3\xA9", 3)), std::string("\0\xC3\xA9", 3));
}

TEST(Utf8, FindsTheIncompleteTail) {
  EXPECT_EQ(IncompleteUtf8Tail(""), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("abc"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xC3"), 1u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xF0\x9F"), 2u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xF0\x9F\x98"), 3u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xF0\x9F\x98\x80"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("\xE0\x80"), 0u);  // can never be completed
  EXPECT_EQ(IncompleteUtf8Tail("\x80\x80"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("\xED\xA0"), 0u);
}

}  // namespace
}  // namespace foveate
