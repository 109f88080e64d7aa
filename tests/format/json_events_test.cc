#include "format/json_events.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "tests/format/test_files.h"

namespace foveate {
namespace {

// Writes down what it hears, depth in front.
class Recorder : public JsonEvents {
 public:
  std::string events;

 private:
  void Note(const std::string& what) { events += std::to_string(depth()) + what + " "; }
  void OnOpen(bool object) override { Note(object ? "{" : "["); }
  void OnClose() override { Note("end"); }
  void OnKey(std::string& key) override { Note("k=" + key); }
  void OnString(std::string& value) override { Note("s=" + value); }
  void OnUnsigned(std::uint64_t value) override { Note("u=" + std::to_string(value)); }
  void OnOther(const char* what) override { Note(what); }
};

std::string Read(const std::string& text) {
  Recorder recorder;
  recorder.Read(std::as_bytes(std::span(text)), "x.json");
  return recorder.events;
}

TEST(JsonEvents, TellsWhatItReads) {
  EXPECT_EQ(Read(" {\"a\" : [1, {}, [ ]],\r\n\t\"b\":\"c\"} "),
            "1{ 1k=a 2[ 2u=1 3{ 3end 3[ 3end 2end 1k=b 1s=c 1end ");
  EXPECT_EQ(Read("0"), "0u=0 ");
  EXPECT_EQ(Read("18446744073709551615"), "0u=18446744073709551615 ");
  for (const char* text : {"18446744073709551616", "1.0", "1e3", "0E-1", "12.5e+7"}) {
    EXPECT_EQ(Read(text), "0a number that is not an integer of 64 bits ") << text;
  }
  for (const char* text : {"-1", "-0", "-0.5"})
    EXPECT_EQ(Read(text), "0a negative number ") << text;
  EXPECT_EQ(Read("[true,false,null]"), "1[ 1true 1false 1null 1end ");
  EXPECT_EQ(Read(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00")"),
            "0s=\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 ");
  EXPECT_EQ(Read("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\""),
            "0s=\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f ");
}

TEST(JsonEvents, RefusesWithThePosition) {
  const auto fails = [](const std::string& text, const std::string& reason) {
    SCOPED_TRACE(text);
    ExpectError(ErrorCode::kCorruptFile, [&] { Read(text); }, "x.json: ", reason);
  };
  fails("", "no value where one was expected at position 0");
  fails("[1,]", "position 3");
  fails("[1 2]", "neither a comma nor an end at position 3");
  fails("{\"a\":1,}", "no key");
  fails("{\"a\" 1}", "no colon");
  fails("[1}", "neither");
  fails("[", "no value");
  fails("1 2", "text after the value at position 2");
  fails("nul", "an unknown word");
  fails("nulL", "an unknown word");
  fails("01", "leading zeros");
  fails("-", "no digit");
  fails("1.", "no digit");
  fails("1e", "no digit");
  fails("+1", "no value");
  fails("\"abc", "a string without end");
  fails("\"a\nb\"", "a control character");
  fails("\"\\x\"", "an unknown escape");
  fails("\"\\u12g4\"", "hexadecimal");
  fails("\"\\u12", "hexadecimal");
  fails("\"\\ud800\"", "half a surrogate pair");
  fails("\"\\udc00\"", "half a surrogate pair");
  fails("\"\\ud800\\u0041\"", "half a surrogate pair");
  fails(std::string("{}\0", 3), "text after the value");
  fails(std::string("\"a\0b\"", 5), "a control character");
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    fails(fmt::format("\"{}\"", bad), "invalid UTF-8");
  }
  EXPECT_NO_THROW(Read("[[[[[[[[8]]]]]]]]"));
  fails("[[[[[[[[[9]]]]]]]]]", "nested deeper than 8");
  fails(std::string(100000, '['), "nested deeper than 8");
}

// Accepts and refuses what an independent parser does, on damaged text. (That parser takes a zero
// byte for the end of the text, so none is made here.)
TEST(JsonEvents, AgreesWithAnotherParser) {
  const std::string original =
      R"({"a\u00e9\ud83d\ude00": {"dtype":"F32","shape":[2, 30],"data_offsets":[0,240]},)"
      R"( "__metadata__": {"x":"\\ \" é€😀"}, "n":[-1.5e3,true,false,null,{}, 0]})";
  const std::string alphabet = "{}[]\",:\\u0dD8e.+- tfn\n\xc3\xa9\xed\xf0\x80";
  std::mt19937 random(3);
  const auto below = [&](std::size_t limit) { return random() % limit; };
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = original;
    for (std::size_t n = below(3) + 1; n > 0; --n) {
      const std::size_t at = below(text.size());
      const char c = alphabet[below(alphabet.size())];
      switch (below(3)) {
        case 0: text[at] = c; break;
        case 1: text.insert(at, 1, c); break;
        default: text.erase(at, below(4) + 1);
      }
    }
    bool ok = true;
    try {
      Read(text);
    } catch (const Error&) {
      ok = false;
    }
    ASSERT_EQ(ok, nlohmann::json::accept(text)) << text;
    accepted += ok;
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_LT(accepted, 19000);
}

}  // namespace
}  // namespace foveate
