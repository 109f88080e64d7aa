// `foveate plan kinetics` on files of answers.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/cli_fixture.h"

namespace foveate {
namespace {

using nlohmann::json;

class PlanKineticsTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    Write({{"full", "easy", {1, 1, 1, 0}},
           {"full", "hard", {0, 1, 0, 0}},
           {"block:topk=4", "easy", {1, 1, 0, 0}},
           {"block:topk=4", "lost", {0, 0, 0, 0}}});
  }
  struct Line {
    std::string attention, question;
    std::vector<int> correct;
  };
  void Write(const std::vector<Line>& lines) {
    std::ofstream file(Path("answers.jsonl"));
    for (const Line& line : lines) {
      file << json{{"question", line.question},
                   {"model", "qwen3-0.6b"},
                   {"attention", line.attention},
                   {"generated", 900},
                   {"correct", line.correct}}
           << "\n";
    }
  }
  std::string Plan(const std::string& flags = "") const {
    return "plan kinetics --model qwen3-0.6b --device b200 --accuracy " + Path("answers.jsonl") +
           " " + flags;
  }
};

TEST_F(PlanKineticsTest, PrintsTheFrontier) {
  const Outcome outcome = Run(Plan("--budget 1e9 --json"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json plan = json::parse(outcome.out);
  EXPECT_EQ(plan["questions"], 3);
  EXPECT_EQ(plan["cost"], "equivalent_flop");
  const json& frontier = plan["frontier"];
  ASSERT_GT(frontier.size(), 2u);
  EXPECT_NEAR(frontier.front()["coverage"].get<double>(), 0.5 / 3, 1e-12);
  EXPECT_NEAR(frontier.back()["coverage"].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_EQ(plan["by_attention"].size(), 2u);
  EXPECT_NEAR(plan["by_attention"]["full"].back()["coverage"].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_EQ(plan["within_budget"]["choices"].size(), 2u);
  EXPECT_NEAR(plan["within_budget"]["coverage"].get<double>(), 2.0 / 3, 1e-12);
}

// The same trials as a run of the planner itself.
TEST_F(PlanKineticsTest, CostsAreThoseOfTheTable) {
  Write({{"block:topk=4", "q", {0, 1}}});
  const json frontier = json::parse(Run(Plan("--prompt 300 --json")).out)["frontier"];
  const json settings =
      json::parse(Run("plan kinetics --model qwen3-0.6b --device b200 --attention block:topk=4 "
                      "--prompt 300 --gen 900 --trials 1,2 --json")
                      .out)["settings"];
  ASSERT_EQ(frontier.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const double expected = settings[i]["equivalent_flop"];
    EXPECT_NEAR(frontier[i]["cost"].get<double>(), expected, expected * 1e-12);
  }
}

TEST_F(PlanKineticsTest, PrintsAndDraws) {
  const Outcome outcome = Run(Plan("--cost seconds --budget 1e9 -o " + Path("plan.svg")));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("over full"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("66.7 %"), std::string::npos) << outcome.out;
  const std::string svg = Slurp(Path("plan.svg"));
  EXPECT_NE(svg.find("best of all"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST_F(PlanKineticsTest, NothingMayBeCorrect) {
  Write({{"full", "q", {0, 0}}});
  EXPECT_NE(Run(Plan()).out.find("no trial of any question is correct"), std::string::npos);
  EXPECT_TRUE(json::parse(Run(Plan("--json")).out)["frontier"].empty());
  ExpectRefusal(Plan("-o " + Path("plan.svg")), "nothing to draw");
}

TEST_F(PlanKineticsTest, RefusesInOneLine) {
  ExpectRefusal(Plan("--prompt 1,2"), "answers.jsonl:1: prompt: missing");
  ExpectRefusal(Plan("--trials 3"), "--trials");
  ExpectRefusal(Plan("-o plan.png"), ".svg");
  ExpectRefusal(Plan("--cost joules"), "joules");
  ExpectRefusal("plan kinetics --model qwen3-8b --device b200 --accuracy " + Path("answers.jsonl"),
                "answers.jsonl:1: model: qwen3-0.6b, expected one of --model: qwen3-8b");
  ExpectRefusal("plan kinetics --model qwen3-8b --cost eflop", "--accuracy");
  ExpectRefusal("plan kinetics --model qwen3-8b --device b200 --accuracy /no/such", "/no/such");
}

}  // namespace
}  // namespace foveate
