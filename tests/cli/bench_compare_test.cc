// `foveate bench compare` on reports whose numbers are known.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/cli_fixture.h"

namespace foveate {
namespace {

using nlohmann::json;

json AttentionRow(const std::string& mechanism, std::vector<double> seconds) {
  return {{"attention", mechanism}, {"query_heads", 8}, {"kv_heads", 2},  {"queries", 1024},
          {"keys", 4096},           {"dim", 64},        {"dtype", "f32"}, {"seconds", seconds}};
}

json LlmRow(const std::string& test, int depth, std::vector<double> seconds) {
  return {{"engine", "foveate"},
          {"test", test},
          {"tokens", 16},
          {"depth", depth},
          {"seconds", seconds}};
}

class BenchCompareTest : public CliTest {
 protected:
  std::string Write(const std::string& name, const std::vector<json>& rows,
                    const std::string& isa = "avx2") {
    std::ofstream(Path(name)) << json{{"isa", isa}, {"rows", rows}};
    return Path(name);
  }
  std::string Compare(const std::vector<json>& before, const std::vector<json>& after) {
    return "bench compare " + Write("a.json", before) + " " + Write("b.json", after);
  }
};

// Tensors of a type and a cache of that type are two things.
TEST_F(BenchCompareTest, NamesTheCache) {
  json cached = AttentionRow("full", {1.0, 1.0, 1.0});
  cached["dtype"] = cached["kv"] = "f16";
  json tensors = AttentionRow("full", {2.0, 2.0, 2.0});
  tensors["dtype"] = "f16";
  tensors["kv"] = nullptr;
  const Outcome outcome = Run(Compare({cached, tensors}, {tensors, cached}) + " --json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  ASSERT_EQ(result["rows"].size(), 2u);
  for (const json& row : result["rows"]) EXPECT_EQ(row["ratio"], 1.0) << row;
}

TEST_F(BenchCompareTest, TellsChangesFromNoise) {
  const std::string compare =
      Compare({AttentionRow("full", {1.0, 1.1, 0.9}), AttentionRow("causal", {1.0, 1.01, 0.99}),
               AttentionRow("power", {1.0, 1.0, 1.0}), AttentionRow("window", {2.0, 2.0, 2.0})},
              {AttentionRow("causal", {1.1, 1.11, 1.09}), AttentionRow("full", {1.1, 1.1, 1.1}),
               AttentionRow("power", {0.5, 0.51, 0.49}), AttentionRow("dilated", {1.0, 1.0, 1.0})});
  const Outcome outcome = Run(compare + " --json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  ASSERT_EQ(result["rows"].size(), 3u);
  const auto expect = [&](int row, const char* name, double ratio, double noise, const char* is) {
    const json& at = result["rows"][row];
    EXPECT_NE(at["row"].get<std::string>().find(name), std::string::npos) << at;
    EXPECT_NEAR(at["ratio"].get<double>(), ratio, 1e-9) << at;
    EXPECT_NEAR(at["noise"].get<double>(), noise, 1e-9) << at;
    EXPECT_EQ(at["verdict"], is) << at;
  };
  expect(0, "full", 1.1, 0.2, "noise");
  expect(1, "causal", 1.1, 0.02 + 0.02 / 1.1, "slower");
  expect(2, "power", 0.5, 0.04, "faster");
  EXPECT_NE(result["only_before"].dump().find("window"), std::string::npos);
  EXPECT_NE(result["only_after"].dump().find("dilated"), std::string::npos);

  const std::string text = Run(compare).out;
  for (const char* part : {"1.10x", "20.0%", "slower", "faster", "noise", "only before: 8/2 heads",
                           "only after: 8/2 heads"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST_F(BenchCompareTest, FailsOnlyOnRowsThatAreSlowerBeyondNoise) {
  const std::vector<json> quiet = {LlmRow("prefill", 0, {1.0, 1.0, 1.0})};
  const std::vector<json> slower = {LlmRow("prefill", 0, {1.1, 1.1, 1.1})};
  EXPECT_EQ(Run(Compare(quiet, slower) + " --fail-slower 9").status, 1);
  EXPECT_EQ(Run(Compare(quiet, slower) + " --fail-slower 11").status, 0);
  EXPECT_EQ(Run(Compare(quiet, slower)).status, 0);
  EXPECT_EQ(Run(Compare(slower, quiet) + " --fail-slower 0").status, 0);
  const std::vector<json> noisy = {LlmRow("prefill", 0, {1.0, 1.1, 1.3})};
  EXPECT_EQ(Run(Compare(quiet, noisy) + " --fail-slower 5").status, 0);
  const std::vector<json> outlier = {LlmRow("prefill", 0, {1.2, 1.2, 9.0, 1.2, 1.2})};
  EXPECT_EQ(Run(Compare(quiet, outlier) + " --fail-slower 5").status, 1);
}

TEST_F(BenchCompareTest, MatchesRowsByWhatIdentifiesThem) {
  json other_engine = LlmRow("decode", 0, {});
  other_engine["engine"] = "llama.cpp";
  other_engine.erase("seconds");
  const std::string compare =
      Compare({LlmRow("decode", 0, {1, 1, 1}), LlmRow("decode", 64, {2, 2, 2}), other_engine},
              {LlmRow("decode", 64, {4, 4, 4}), LlmRow("prefill", 0, {1, 1, 1})});
  const json result = json::parse(Run(compare + " --json").out);
  ASSERT_EQ(result["rows"].size(), 1u);
  EXPECT_EQ(result["rows"][0]["ratio"], 2.0);
  EXPECT_EQ(result["only_before"].size(), 1u);
  EXPECT_EQ(result["only_after"].size(), 1u);
}

TEST_F(BenchCompareTest, SaysWhereMachinesDiffer) {
  const std::vector<json> rows = {AttentionRow("full", {1, 1, 1})};
  const std::string out =
      Run("bench compare " + Write("a.json", rows) + " " + Write("b.json", rows, "avx512")).out;
  EXPECT_NE(out.find("isa: \"avx2\" before, \"avx512\" after"), std::string::npos) << out;
}

TEST_F(BenchCompareTest, ReadsWhatTheProgramWrites) {
  const std::string bench = "bench attention --attention full,causal --length 64 --reps 3 --json";
  for (const char* name : {"a.json", "b.json"}) {
    std::ofstream(Path(name)) << Run(bench).out;
  }
  const Outcome outcome = Run("bench compare " + Path("a.json") + " " + Path("b.json") + " --json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out)["rows"].size(), 2u);

  const json tensors = json::parse(Run(bench).out)["rows"];
  const json caches = json::parse(Run(bench + " --queries 1 --kv bf16,q4_0").out)["rows"];
  ASSERT_EQ(caches.size(), 4u);
  EXPECT_EQ(tensors[0]["kv"], nullptr);
  EXPECT_EQ(caches[0]["kv"], "bf16");
  EXPECT_EQ(caches[3]["kv"], "q4_0");
}

TEST_F(BenchCompareTest, BadFilesGetOneLine) {
  const std::string good = Write("good.json", {AttentionRow("full", {1, 1, 1})});
  const auto refused = [&](const std::string& content, const std::string& part) {
    std::ofstream(Path("bad.json")) << content;
    ExpectRefusal("bench compare " + good + " " + Path("bad.json"), part);
  };
  ExpectRefusal("bench compare " + good + " /no/such.json", "/no/such.json");
  for (const char* content : {"", "{", "[]", "3", "{}", "{\"rows\": 3}", "{\"rows\": [3]}",
                              "{\"rows\": [{\"attention\": 5, \"seconds\": [1, 1, 1]}]}",
                              "{\"rows\": [{\"attention\": \"full\"}]}"}) {
    refused(content, "bad.json: not what");
  }
  const auto rows = [](const json& row) { return json{{"rows", json::array({row})}}.dump(); };
  refused(rows(AttentionRow("full", {1, 1})), "2 repetitions");
  refused(rows(AttentionRow("full", {1, 0, 1})), "0 seconds");
  refused(rows(LlmRow("decode", 0, {1, 1, 1})), "no row in common");
}

}  // namespace
}  // namespace foveate
