// `foveate eval` and `foveate report` on a tiny model.
#include <nlohmann/json.hpp>

#include "tests/cli/cli_fixture.h"

namespace foveate {
namespace {

class EvalTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    MakeTinyModel({.context = 2048}).Write(Path("model.gguf"));
    std::ofstream text(Path("text.txt"));
    for (int i = 0; i < 2000; ++i) text << "This is sentence " << i * i << ". ";
  }

  // `foveate eval` with this text and database.
  std::string Eval(const std::string& rest) const {
    return "eval " + rest + " --text '" + Path("text.txt") + "' --db '" + Path("results.db") + "'";
  }
  // Perplexity and passkeys at two contexts.
  int EvaluateBoth(const std::string& attention) const {
    return Run(Eval("perplexity,passkey " + Model() + " --attention " + attention +
                    " --context 1k,2k --windows 1 --trials 5"))
        .status;
  }
  std::string Model() const { return "'" + Path("model.gguf") + "'"; }
};

TEST_F(EvalTest, ComparesAndGoesOn) {
  const std::string specs = " --attention full,window:left=15,right=0,topk:topk=8,local=4 ";
  const Outcome first = Run(Eval("perplexity,passkey,needle " + Model() + specs +
                                 "--context 1k --windows 2 --trials 5 --json"));
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_NE(first.err.find("48 cases to evaluate, about "), std::string::npos) << first.err;
  const nlohmann::json rows = nlohmann::json::parse(first.out).at("rows");
  ASSERT_EQ(rows.size(), 12u);  // full as decoding besides, for topk
  EXPECT_EQ(rows[0].at("task"), "perplexity");
  EXPECT_EQ(rows[0].at("targets"), 2 * 511);
  EXPECT_EQ(rows[1].at("attention"), "window:left=15,right=0");
  EXPECT_LT(rows[1].at("density"), 0.1);
  EXPECT_EQ(rows[3].at("decoding"), true);
  EXPECT_EQ(rows[4].at("depths").size(), 5u);

  // Nothing is evaluated twice; more trials add to those that there are.
  const Outcome again = Run(Eval("perplexity,passkey,needle " + Model() + specs +
                                 "--context 1k --windows 2 --trials 5 --json"));
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.err.find("all of these cases are there"), std::string::npos) << again.err;
  EXPECT_EQ(nlohmann::json::parse(again.out).at("rows"), rows);
  const Outcome more = Run(Eval("passkey " + Model() + specs + "--context 1k --trials 6"));
  ASSERT_EQ(more.status, 0) << more.err;
  EXPECT_NE(more.err.find("4 cases to evaluate"), std::string::npos) << more.err;
  EXPECT_NE(more.out.find("/6"), std::string::npos) << more.out;
}

TEST_F(EvalTest, ReportsAsPageTextAndMarkdown) {
  ASSERT_EQ(EvaluateBoth("'full,window:left=15,right=0 & causal'"), 0);
  const std::string database = "report '" + Path("results.db") + "'";
  const Outcome page = Run(database + " -o '" + Path("report.html") + "' --title '<Tiny> & more'");
  ASSERT_EQ(page.status, 0) << page.err;
  const std::string html = Slurp(Path("report.html"));
  EXPECT_NE(html.find("<title>&lt;Tiny&gt; &amp; more</title>"), std::string::npos);
  EXPECT_NE(html.find("window:left=15,right=0 &amp; causal"), std::string::npos);
  EXPECT_NE(html.find("<svg"), std::string::npos);
  EXPECT_EQ(html.find("src="), std::string::npos);  // nothing from outside
  EXPECT_EQ(html.find("href="), std::string::npos);
  ASSERT_EQ(Run(database + " -o '" + Path("report.md") + "'").status, 0);
  EXPECT_NE(Slurp(Path("report.md")).find("| `full` | 1.000 |"), std::string::npos);
  EXPECT_NE(Slurp(Path("report.md")).find(" threads, foveate "), std::string::npos);
  EXPECT_NE(Run(database).out.find("passkey at 2048 tokens"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(Run(database + " --json").out).at("rows").size(), 8u);
}

TEST_F(EvalTest, ItsPageIsLaidOutInABrowser) {
  ASSERT_EQ(EvaluateBoth("full,window:left=15,right=0,dilated:dilation=16,count=4"), 0);
  const std::string page = "'" + Path("report.html") + "'";
  ASSERT_EQ(Run("report '" + Path("results.db") + "' -o " + page).status, 0);
  const int status =
      std::system(("python3 " FOVEATE_TEST_DATA "/../cli/report_in_browser.py " + page).c_str());
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no chromium with chromedriver here";
  EXPECT_EQ(status, 0);
}

TEST_F(EvalTest, RefusesInOneLine) {
  ExpectRefusal(Eval("perplexity,chess " + Model()), "task 'chess', expected perplexity");
  std::ofstream(Path("short.txt")) << "Too short.";
  ExpectRefusal("eval perplexity " + Model() + " --context 1k --text '" + Path("short.txt") +
                    "' --db '" + Path("results.db") + "'",
                "a window of 1024 needs 1024");
  ExpectRefusal(Eval("passkey " + Model() + " --context 64"), "no room for the question");
  ExpectRefusal(Eval("passkey " + Model() + " --context 1k --trials 0"), "trials");
  ExpectRefusal(Eval("perplexity " + Model() + " --attention dhsa:budget=70"), "dhsa: budget=70");
  ExpectRefusal(Eval("perplexity " + Model() + " --attention 0-5=full"), "layer 5");
  ExpectRefusal(
      "eval perplexity " + Model() + " --text /no/such/file --db '" + Path("results.db") + "'",
      "/no/such/file");
  ExpectRefusal("eval perplexity " + Model() + " --db '" + Path("results.db") + "'",
                "tools/fetch_kjv.sh");
  ExpectRefusal("report '" + Path("none.db") + "'", "no such file of results");
  std::ofstream(Path("damaged.db")) << "not a database, but some bytes of text that are no header";
  ExpectRefusal("report '" + Path("damaged.db") + "'", "damaged.db");
  ExpectRefusal("eval passkey " + Model() + " --db '" + Path("damaged.db") + "'", "damaged.db");
  ASSERT_EQ(Run(Eval("perplexity " + Model() + " --context 256 --windows 1")).status, 0);
  ExpectRefusal("report '" + Path("results.db") + "' -o report.pdf", ".html or .md");
}

}  // namespace
}  // namespace foveate
