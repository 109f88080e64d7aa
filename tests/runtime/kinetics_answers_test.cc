// Files of answers: what is read, and that each fault is one line naming its place.
#include "runtime/kinetics_answers.h"

#include <gtest/gtest.h>

#include "base/throw.h"

namespace foveate {
namespace {

const KineticsModels& Models() {
  static const KineticsModels models = {{"small", PublishedKineticsModel("qwen3-0.6b")},
                                        {"large", PublishedKineticsModel("qwen3-8b")}};
  return models;
}

std::vector<AnswerSet> Parse(const std::string& text, std::optional<std::int64_t> prompt = 100) {
  return ParseAnswerSets(text, "a.jsonl", Models(), prompt);
}

// A good line with some of its text replaced.
std::string LineWith(const std::string& found, const std::string& instead) {
  std::string line =
      R"({"question":"q","model":"small","attention":"topk","generated":[5,6],"correct":[true,0]})";
  return line.replace(line.find(found), found.size(), instead);
}

TEST(KineticsAnswers, ReadsLines) {
  const std::vector<AnswerSet> sets =
      Parse("\n" + LineWith("\"topk\"", R"("block:topk=8,block=4,sink=0,local=2,dense_layers=3")") +
            "\r\n \n"
            R"({"question": 7, "model": "large", "setting": "full", "prompt": 0, "seed": 3, )"
            R"("generated": 9, "correct": [1, 1, false]})");
  ASSERT_EQ(sets.size(), 2u);
  EXPECT_EQ(sets[0].question, "q");
  EXPECT_EQ(sets[0].model, "small");
  EXPECT_EQ(sets[0].attention, "block:block=4,topk=8,local=2,sink=0,dense_layers=3");
  EXPECT_EQ(sets[0].kind.kind, KineticsAttention::Kind::kTopBlocks);
  EXPECT_EQ(sets[0].kind.budget(), 34);
  EXPECT_EQ(sets[0].kind.dense_layers, 3);
  EXPECT_EQ(sets[0].prompt, 100);
  EXPECT_EQ(sets[0].generated, (std::vector<std::int64_t>{5, 6}));
  EXPECT_EQ(sets[0].correct, 1);
  EXPECT_EQ(sets[1].question, "7");
  EXPECT_EQ(sets[1].kind.kind, KineticsAttention::Kind::kFull);
  EXPECT_EQ(sets[1].prompt, 0);
  EXPECT_EQ(sets[1].generated, (std::vector<std::int64_t>{9, 9, 9}));
  EXPECT_EQ(sets[1].correct, 2);
}

// What the error says of a second line, behind a good one.
std::string Refusal(const std::string& line, std::optional<std::int64_t> prompt = 100) {
  const std::string first = LineWith("\"topk\"", "\"full\",\"prompt\":1");
  try {
    Parse(first + "\n" + line + "\n", prompt);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(KineticsAnswers, NamesThePlaceOfEveryFault) {
  struct Fault {
    std::string line, message;  // how the message begins, behind the place
  };
  const std::string tokens = "expected an integer from 1 to 10000000";
  const std::string flags = "expected a list of 1 to 10000 flags";
  const std::vector<Fault> faults = {
      {"x", "not JSON, expected one object in a line"},
      {R"({"question": "q")", "not JSON"},
      {R"({"question": 1e999})", "not JSON"},
      {"{} {}", "not JSON"},
      {"\xff", "not JSON"},
      {"[1]", "a list, expected an object"},
      {"{}", "question: missing, expected text or an integer"},
      {LineWith("\"q\"", "null"), "question: null, expected text"},
      {LineWith("\"q\"", "[]"), "question: a list, expected text"},
      {LineWith("\"model\"", "\"Model\""), "model: missing, expected one of --model: large, small"},
      {LineWith("small", "tiny\\u0007"), "model: tiny\\x07, expected one of --model: large, small"},
      {LineWith("\"small\"", "5"), "model: 5, expected one of"},
      {LineWith("attention", "kind"), "attention: missing, expected a spec such as full"},
      {LineWith("\"topk\"", "{}"), "attention: an object, expected a spec"},
      {LineWith("topk", "tokp"), "attention: "},
      {LineWith("topk", "topk:topk=0"), "attention: "},
      {LineWith("topk", "window"), "attention: window"},
      {LineWith("topk", "0-2=full;3-=topk"), "attention: 0-2=full;3-=topk"},
      {LineWith("topk", "@/etc/passwd"), "attention: "},
      {LineWith("\"attention\"", R"("setting":"full","attention")"), "setting: given besides"},
      {LineWith("\"generated\"", R"("prompt":-1,"generated")"), "prompt: -1, expected an integer"},
      {LineWith("\"generated\"", R"("prompt":"1","generated")"), "prompt: \"1\", expected"},
      {LineWith("generated", "length"), "generated: missing, expected tokens of a trial"},
      {LineWith("[5,6]", "0"), "generated: 0, " + tokens},
      {LineWith("[5,6]", "-5"), "generated: -5, " + tokens},
      {LineWith("[5,6]", "5.5"), "generated: 5.5, " + tokens},
      {LineWith("[5,6]", "18446744073709551615"), "generated: 18446744073709551615, " + tokens},
      {LineWith("[5,6]", "[5,-6]"), "generated[1]: -6, " + tokens},
      {LineWith("[5,6]", "[5,[6]]"), "generated[1]: a list, " + tokens},
      {LineWith("[5,6]", "[5]"), "generated: 1 lengths, expected 2, as many as flags in correct"},
      {LineWith("[5,6]", "[]"), "generated: 0 lengths, expected 2"},
      {LineWith("correct", "right"), "correct: missing, " + flags},
      {LineWith("[true,0]", "true"), "correct: true, " + flags},
      {LineWith("[true,0]", "[]"), "correct: 0 flags, " + flags},
      {LineWith("[true,0]", "[true,2]"), "correct[1]: 2, expected true, false, 1 or 0"},
      {LineWith("[true,0]", "[0.0,true]"), "correct[0]: 0.0, expected true, false, 1 or 0"},
      {LineWith("[true,0]", "[\"yes\",1]"), "correct[0]: \"yes\", expected"},
  };
  for (const Fault& fault : faults) {
    const std::string said = Refusal(fault.line);
    EXPECT_EQ(said.rfind("a.jsonl:2: " + fault.message, 0), 0u) << fault.line << "\n" << said;
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
  }
}

TEST(KineticsAnswers, APromptHasToComeFromSomewhere) {
  EXPECT_EQ(Refusal(LineWith("q", "q"), std::nullopt),
            "a.jsonl:2: prompt: missing, expected tokens here, or a single --prompt for all lines");
}

TEST(KineticsAnswers, RefusesEmptyFiles) {
  for (const char* text : {"", "\n\n", "  \r\n"}) {
    try {
      Parse(text);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()),
                "a.jsonl: empty, expected a line of JSON for each answer set");
    }
  }
}

// Deeper than a recursive reader or printer survives.
TEST(KineticsAnswers, RefusesNestedValues) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  EXPECT_EQ(Refusal(LineWith("[5,6]", "[5," + deep + "]")).substr(0, 34),
            "a.jsonl:2: generated[1]: a list, e");
}

}  // namespace
}  // namespace foveate
