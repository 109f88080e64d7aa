#include "eval/evaluator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "base/throw.h"
#include "eval/questions.h"
#include "eval/summary.h"
#include "eval/windows.h"
#include "runtime/scoring.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

constexpr std::int64_t kContext = 96;

class EvaluatorTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("foveate_eval" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    const std::string path = folder_ / "tiny.gguf";
    MakeTinyModel({.context = 4096}).Write(path);
    model_ = LoadLanguageModel(context_, path);
    for (int i = 0; i < 400; ++i) text_.push_back(3 + (i * 37 + i / 7) % 90);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Database() const { return folder_ / "results.db"; }

  EvaluatorOptions Options(const char* attention) const {
    return {.attention = ParseSpecList(attention),
            .decoder = {.chunk = 16, .key_type = KvType::kF32, .value_type = KvType::kF32}};
  }

  std::vector<EvalCase> Windows(std::int64_t count = 3) const {
    return PerplexityCases(text_, {}, kContext, count);
  }

  std::vector<EvalSummary> Evaluate(const EvaluatorOptions& options,
                                    const std::vector<EvalCase>& cases) {
    EvalResults results(Database());
    Evaluator evaluator(context_, model_, id_, results, options);
    evaluator.Plan(cases);
    results.Begin({});
    evaluator.Run();
    results.End();
    return Summarise(evaluator.Chosen(results.All()));
  }

  std::filesystem::path folder_;
  Context context_{{.threads = 2}};
  std::shared_ptr<const LanguageModel> model_;
  std::vector<TokenId> text_;
  const EvalModelId id_{"tiny", "hash of tiny"};
};

TEST_F(EvaluatorTest, PerplexityIsThatOfScoring) {
  const std::vector<EvalSummary> rows = Evaluate(Options("full"), Windows());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].cases, 3);
  EXPECT_EQ(rows[0].targets, 3 * (kContext / 2 - 1));
  double sum = 0;
  for (const EvalCase& window : Windows()) {
    DecoderOptions options = Options("full").decoder;
    options.context = kContext;
    Decoder decoder(context_, model_, options);
    const Scores scores = ScoreTokens(decoder, window.tokens);
    for (std::size_t i = kContext / 2; i < scores.nll.size(); ++i) sum += scores.nll[i];
  }
  EXPECT_NEAR(std::log(rows[0].perplexity), sum / static_cast<double>(rows[0].targets), 1e-5);
  EXPECT_EQ(rows[0].density, 1);
}

// A budget at or above the context is dense attention; a narrow window is not. What acts on
// decoding only is compared with the baseline as decoding, in a table of its own.
TEST_F(EvaluatorTest, ComparesWithTheBaseline) {
  const std::vector<EvalSummary> rows = Evaluate(
      Options("full,window:left=95,right=0,topk:topk=96,window:left=3,right=0"), Windows());
  std::vector<std::pair<std::string, bool>> names;
  for (const EvalSummary& row : rows) names.emplace_back(row.setting.name, row.setting.decoding);
  const std::vector<std::pair<std::string, bool>> expected = {{"full", false},
                                                              {"window:left=95,right=0", false},
                                                              {"window:left=3,right=0", false},
                                                              {"full", true},
                                                              {"topk:topk=96", true}};
  ASSERT_EQ(names, expected);
  for (const std::size_t i : {1, 4}) {
    EXPECT_NEAR(rows[i].ratio, 1, 1e-4) << rows[i].setting.name;
    EXPECT_NEAR(rows[i].divergence, 0, 1e-5);
    EXPECT_NEAR(rows[i].agreement, 1, 0.02);
    EXPECT_NEAR(rows[i].density, 1, 1e-9);
  }
  EXPECT_TRUE(rows[0].is_baseline && rows[3].is_baseline);
  EXPECT_GT(rows[2].divergence, 1e-4);
  EXPECT_LT(rows[2].density, 0.1);
  EXPECT_LT(rows[2].ratio_range.low, rows[2].ratio);
  EXPECT_LT(rows[2].ratio, rows[2].ratio_range.high);
}

TEST_F(EvaluatorTest, AsDecodingGivesWhatAPromptGives) {
  EvaluatorOptions options = Options("full,window:left=7,right=0");
  const std::vector<EvalSummary> prompt = Evaluate(options, Windows());
  options.as_decoding = true;
  const std::vector<EvalSummary> decoding = Evaluate(options, Windows());
  ASSERT_EQ(decoding.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(decoding[i].setting.decoding);
    EXPECT_NEAR(decoding[i].perplexity / prompt[i].perplexity, 1, 1e-4);
    EXPECT_GT(decoding[i].attention_share, 0);
  }
}

// Stopped in the middle and run again: what is there is not evaluated twice, and the end is that of
// a run without a stop.
TEST_F(EvaluatorTest, GoesOnWhereItStopped) {
  EvaluatorOptions options = Options("full,window:left=7,right=0");
  int calls = 0;
  EvaluatorOptions stopped = options;
  stopped.on_progress = [&](double share, const std::string&) {
    if (share > 0.5) throw std::runtime_error("stop");
    ++calls;
  };
  EXPECT_THROW(Evaluate(stopped, Windows()), std::runtime_error);
  EXPECT_GT(calls, 0);
  {
    EvalResults results(Database());
    Evaluator evaluator(context_, model_, id_, results, options);
    evaluator.Plan(Windows());
    EXPECT_EQ(evaluator.planned(), 2);  // of 2 x 3
  }
  const std::vector<EvalSummary> resumed = Evaluate(options, Windows());
  std::filesystem::remove(Database());
  const std::vector<EvalSummary> straight = Evaluate(options, Windows());
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(resumed[i].perplexity, straight[i].perplexity);
    EXPECT_EQ(resumed[i].ratio, straight[i].ratio);
  }
}

TEST_F(EvaluatorTest, WhatChangesNumbersIsAnotherSetting) {
  const auto planned = [&](const EvalModelId& id, const EvaluatorOptions& options) {
    EvalResults results(Database());
    Evaluator evaluator(context_, model_, id, results, options);
    evaluator.Plan(Windows(1));
    return evaluator.planned();
  };
  Evaluate(Options("full"), Windows(1));
  EXPECT_EQ(planned(id_, Options("full")), 0);
  EXPECT_EQ(planned({"tiny", "another hash"}, Options("full")), 1);
  EXPECT_EQ(planned(id_, Options("full,causal")), 1);
  EvaluatorOptions options = Options("full");
  options.decoder.key_type = KvType::kF16;
  EXPECT_EQ(planned(id_, options), 1);
  options = Options("full");
  options.as_decoding = true;
  EXPECT_EQ(planned(id_, options), 1);
  options = Options("full");
  options.again = true;
  EXPECT_EQ(planned(id_, options), 1);
}

TEST_F(EvaluatorTest, QuestionsAreAnsweredAndCounted) {
  const std::vector<EvalCase> cases = PasskeyCases(*model_->tokenizer, 2048, 5, 1000);
  const std::vector<EvalSummary> rows = Evaluate(Options("full,window:left=63,right=0"), cases);
  ASSERT_EQ(rows.size(), 2u);
  for (const EvalSummary& row : rows) {
    EXPECT_EQ(row.task, EvalTask::kPasskey);
    EXPECT_EQ(row.rate.trials, 5);
    EXPECT_EQ(row.depths.size(), 5u);
    EXPECT_EQ(row.rate.correct, 0);  // a random model knows nothing
  }
  EXPECT_LT(rows[1].density, 0.1);
}

TEST_F(EvaluatorTest, RefusesSpecsBeforeAnyWork) {
  EvalResults results(Database());
  EXPECT_THROW(Evaluator(context_, model_, id_, results, Options("0-7=full")), Error);
}

class ResultsFile : public EvaluatorTest {};

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(ResultsFile, DamageIsReportedAndNothingIsOverwritten) {
  Evaluate(Options("full"), Windows());
  const std::string good = Bytes(Database());
  const auto expect_refusal = [&](const std::string& bytes) {
    std::ofstream(Database(), std::ios::binary) << bytes;
    try {
      EvalResults results(Database());
      results.All();
      ADD_FAILURE() << "a damaged file was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptFile) << error.what();
      EXPECT_NE(std::string(error.what()).find(Database()), std::string::npos);
    }
    EXPECT_EQ(Bytes(Database()), bytes);
  };
  expect_refusal("this is no database, whatever its name says; it is longer than a header of one");
  expect_refusal(good.substr(0, good.size() / 2));
  std::string scrambled = good;
  for (std::size_t i = 4096; i < scrambled.size(); i += 3) scrambled[i] = static_cast<char>(i);
  expect_refusal(scrambled);
}

TEST_F(ResultsFile, OtherDatabasesAreRefused) {
  foveate::Database(folder_ / "other.db").Run("CREATE TABLE cats (name TEXT)");
  EXPECT_THROW(EvalResults((folder_ / "other.db").string()), Error);
  EXPECT_THROW(EvalResults((folder_ / "no" / "folder.db").string()), Error);
}

}  // namespace
}  // namespace foveate
