// The program itself, as people and scripts run it: what it prints, and how it ends.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "format/safetensors.h"
#include "tests/cli/cli_fixture.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

using nlohmann::json;

TEST_F(CliTest, RunAnswersOnceAsTextAndAsJson) {
  const std::string run = "run " + Path("tiny.gguf") + " -p hello --temp 0 -n 5 --ignore-eos";
  const Outcome text = Run(run);
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_FALSE(text.out.empty());
  EXPECT_NE(text.err.find("decode 5 tokens"), std::string::npos) << text.err;

  const Outcome object = Run(run + " --json --seed 7");
  ASSERT_EQ(object.status, 0) << object.err;
  const json result = json::parse(object.out);
  EXPECT_EQ(result["completion_tokens"], 5);
  EXPECT_EQ(result["finish_reason"], "length");
  EXPECT_EQ(result["seed"], 7);
  EXPECT_GT(result["prompt_tokens"], 0);
  EXPECT_GT(result["bytes"]["kv_cache"], 0);
  EXPECT_EQ(result["text"].get<std::string>() + "\n", text.out);
}

TEST_F(CliTest, RunReadsStandardInputAndFiles) {
  const std::string run = "run " + Path("tiny.gguf") + " --raw --temp 0 -n 4 --ignore-eos --json";
  const Outcome piped = Run(run, "some text");
  ASSERT_EQ(piped.status, 0) << piped.err;
  std::ofstream(Path("prompt.txt")) << "some text";
  const Outcome file = Run(run + " -f " + Path("prompt.txt"));
  EXPECT_EQ(json::parse(piped.out)["ids"], json::parse(file.out)["ids"]);
}

TEST_F(CliTest, TheSameSeedGivesTheSameTextOnAnyNumberOfThreads) {
  const std::string run =
      "run " + Path("tiny.gguf") + " -p hello -n 12 --ignore-eos --json --seed 3 --threads ";
  const json one = json::parse(Run(run + "1").out);
  for (const char* threads : {"2", "4", "16"}) {
    EXPECT_EQ(one["ids"], json::parse(Run(run + threads).out)["ids"]) << threads;
  }
}

TEST_F(CliTest, TokenizeGoesThereAndBack) {
  const Outcome ids = Run("tokenize " + Path("tiny.gguf") + " 'hello <|im_end|> wörld' --json");
  ASSERT_EQ(ids.status, 0) << ids.err;
  const json tokens = json::parse(ids.out);
  EXPECT_EQ(tokens["ids"].size(), tokens["pieces"].size());
  std::string list;
  for (int id : tokens["ids"]) list += (list.empty() ? "" : ",") + std::to_string(id);
  EXPECT_EQ(Run("tokenize " + Path("tiny.gguf") + " --detokenize " + list).out,
            "hello <|im_end|> wörld\n");
  const json plain =
      json::parse(Run("tokenize " + Path("tiny.gguf") + " '<|im_end|>' --no-special --json").out);
  EXPECT_GT(plain["ids"].size(), 1u);
  std::ofstream(Path("chat.json")) << R"([{"role": "user", "content": "hi"}])";
  EXPECT_EQ(Run("tokenize " + Path("tiny.gguf") + " --chat " + Path("chat.json")).out,
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(CliTest, ScoreWritesTheLogitsOfEveryPosition) {
  const Outcome outcome =
      Run("score " + Path("tiny.gguf") + " --ids 1,2,3,4 --top 3 --json --logits " +
          Path("logits.safetensors"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json scores = json::parse(outcome.out);
  EXPECT_EQ(scores["nll"].size(), 3u);
  EXPECT_EQ(scores["top"].size(), 3u);
  const SafetensorsFile file = SafetensorsFile::Open(Path("logits.safetensors"));
  const StoredTensor* logits = file.FindTensor("logits");
  ASSERT_NE(logits, nullptr);
  EXPECT_EQ(logits->shape, (std::vector<std::int64_t>{4, 400}));
}

TEST_F(CliTest, InspectInfoAndListDescribe) {
  const json file = json::parse(Run("inspect " + Path("tiny.gguf") + " --json --check").out);
  EXPECT_EQ(file["config"]["architecture"], "llama");
  EXPECT_TRUE(file["problems"].empty());
  EXPECT_NE(Run("inspect " + Path("tiny.gguf")).out.find("blk.1.ffn_down.weight"),
            std::string::npos);
  EXPECT_NE(Run("inspect " FOVEATE_TEST_DATA "/tiny_models.safetensors").out.find("llama.logits"),
            std::string::npos);
  EXPECT_TRUE(json::parse(Run("info --json").out)["isas"].is_array());
  EXPECT_NE(Run("list").out.find("smollm2"), std::string::npos);
  EXPECT_TRUE(json::parse(Run("list --json").out).empty());
}

TEST_F(CliTest, MechanismsAreListedAndExplained) {
  const json list = json::parse(Run("mechanisms --json").out);
  EXPECT_GE(list.size(), 22u);
  EXPECT_NE(Run("mechanisms").out.find("sink_window"), std::string::npos);
  const Outcome one = Run("mechanisms streaming");
  EXPECT_NE(one.out.find("first keys, always visible"), std::string::npos) << one.out;
  EXPECT_EQ(json::parse(Run("mechanisms power --json").out)["parameters"][0]["default"], "64");
  ExpectRefusal("mechanisms windw", "window");
}

TEST_F(CliTest, ShowDrawsAndCounts) {
  EXPECT_EQ(Run("show causal --length 3").out.substr(0, 96),
            "causal\n3 queries (down) x 3 keys; a cell is 1 x 1: █ full ▒ partial · empty\n\n"
            "██····");
  const json causal = json::parse(
      Run("show causal,full --length 6 --keys 8 --heads 8/2 --dim 16 --tiles 2 --json --slices")
          .out)["specs"];
  ASSERT_EQ(causal.size(), 2u);
  EXPECT_EQ(causal[0]["pairs"], 33);
  EXPECT_EQ(causal[0]["flops"], 4 * 33 * 16 * 8);
  EXPECT_EQ(causal[0]["tiles"], json({{"full", 6}, {"partial", 3}, {"total", 12}}));
  EXPECT_EQ(causal[0]["kv_bytes"], 64 * 16 * 2 * 2 * 2);
  EXPECT_EQ(causal[0]["slices"], "slices:slices=0x6x0x8xcausal");
  EXPECT_EQ(causal[1]["density"], 1.0);
  const json layers = json::parse(
      Run("show '0=full;1-=heads(0=causal;1-=window:size=4)' -n 9 --layer 2 --head 3 --json").out);
  EXPECT_EQ(layers["specs"][0]["spec"], "window:left=3,right=0");
  const json reach =
      json::parse(Run("show power:block=64 --length 8192 --receptive-field 30 --json").out);
  EXPECT_EQ(reach["specs"][0]["reach_per_layer"], json({10, 35, 75, 110, 126, 128}));
}

TEST_F(CliTest, ShowListsTheSchedule) {
  const std::string show = "show sink_window:sink=4,left=70 -n 200 --schedule";
  const std::string text = Run(show).out;
  EXPECT_NE(text.find("\n    0-63: (0)\n  64-127: (0-1)\n 128-191: (0-2)\n 192-199: (0-3)\n"),
            std::string::npos)
      << text;
  const json work = json::parse(Run(show + " --json").out)["specs"][0]["schedule"]["work"];
  ASSERT_EQ(work.size(), 4u);
  EXPECT_EQ(work[3]["rows"], json({192, 200}));
  EXPECT_EQ(work[0]["key_tiles"][0], json({{"begin", 0}, {"end", 1}, {"mask", "partial"}}));
  ExpectRefusal("show causal -n 100000000 --schedule", "--schedule");
}

// A second is far less than an N x N mask would take.
TEST_F(CliTest, ShowIsQuickForAMillionPositions) {
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = Run("show window:size=1024,causal,power --length 1000000 --json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out)["specs"][1]["pairs"], 500000500000);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST_F(CliTest, ShowWritesPictures) {
  EXPECT_EQ(Run("show causal -n 500 -o " + Path("mask.svg")).status, 0);
  EXPECT_EQ(Slurp(Path("mask.svg")).substr(0, 5), "<svg ");
  EXPECT_EQ(Run("show causal -n 500 -o " + Path("mask.png")).status, 0);
  EXPECT_EQ(Slurp(Path("mask.png")).substr(1, 3), "PNG");
  ExpectRefusal("show causal -o " + Path("mask.bmp"), ".png");
  ExpectRefusal("show causal -o /no/such/folder/mask.svg", "/no/such/folder/mask.svg");
  ExpectRefusal("show causal -o /no/such/folder/mask.png", "/no/such/folder/mask.png");
  ExpectRefusal("show windw", "window");
  ExpectRefusal("show causal --heads 3/2", "--heads");
  ExpectRefusal("show causal --length 0", "length");
  ExpectRefusal("show document:cu=0/9 --length 10", "cu_q[1] is 9");
}

TEST_F(CliTest, BenchPrintsRowsAndLimits) {
  const Outcome outcome =
      Run("bench llm " + Path("tiny.gguf") + " --prompt 16 --gen 4 --depth 0,32 --reps 2 --json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  ASSERT_EQ(result["rows"].size(), 4u);
  EXPECT_EQ(result["rows"][0]["test"], "prefill");
  EXPECT_EQ(result["rows"][3]["depth"], 32);
  for (const json& row : result["rows"]) EXPECT_GT(row["tokens_per_second"], 0);
  EXPECT_GT(result["limits"]["fma_gflops"], 0);
  const Outcome peer = Run("bench llm " + Path("tiny.gguf") +
                           " --prompt 8 --gen 0 --reps 1 --no-limits --peer /nowhere.json");
  EXPECT_EQ(peer.status, 0);
  EXPECT_NE(peer.out.find("not installed"), std::string::npos);
}

TEST_F(CliTest, BenchCountsTheBytesOfTheCache) {
  const auto bytes = [&](const std::string& kv) {
    const Outcome outcome = Run("bench llm " + Path("tiny.gguf") +
                                " --prompt 0 --gen 4 --reps 1 --no-limits --json --kv " + kv);
    return json::parse(outcome.out)["rows"][0]["bytes_per_token"].get<double>();
  };
  EXPECT_EQ(bytes("bf16"), bytes("f16"));
  EXPECT_GT(bytes("f32"), bytes("f16"));
}

TEST_F(CliTest, NonsenseIsRefusedInOneLine) {
  const std::string tiny = Path("tiny.gguf");
  ExpectRefusal("", "verb is required");
  ExpectRefusal("frobnicate", "frobnicate");
  ExpectRefusal("run", "model");
  ExpectRefusal("run nosuchmodel -p x", "nosuchmodel");
  ExpectRefusal("run /no/such/file.gguf -p x", "/no/such/file.gguf");
  ExpectRefusal("run / -p x", "/");
  ExpectRefusal("run " + tiny + " -p x --threads 0", "threads");
  ExpectRefusal("run " + tiny + " -p x --isa sse9", "sse9");
  ExpectRefusal("run " + tiny + " -p x --kv q3", "q3");
  ExpectRefusal("run " + tiny + " -p x --kv-offload /no/such/folder", "/no/such/folder");
  ExpectRefusal("run " + tiny + " -p x --kv q8_0", "q8_0");  // head_dim 16
  ExpectRefusal("run " + tiny + " -p x --activations f8", "f8");
  ExpectRefusal("run " + tiny + " -p x --temp nan", "temperature");
  ExpectRefusal("run " + tiny + " -p x --top-p 2", "top_p");
  ExpectRefusal("run " + tiny + " -p x --samplers magic", "magic");
  ExpectRefusal("run " + tiny + " -p x --rope-scaling bend", "bend");
  ExpectRefusal("run " + tiny + " -p x --logit-bias 3", "logit-bias");
  ExpectRefusal("run " + tiny + " -p x -f y", "both");
  ExpectRefusal("run " + tiny + " -f /no/such/prompt", "/no/such/prompt");
  ExpectRefusal("run " + tiny + " --raw --system x -p y", "--system");
  ExpectRefusal("score " + tiny, "--ids");
  ExpectRefusal("score " + tiny + " --ids 1,2,400", "400");
  ExpectRefusal("score " + tiny + " --ids 1,2 --logits /no/such/folder/x", "/no/such/folder/x");
  ExpectRefusal("tokenize " + tiny + " --detokenize 99999", "99999");
  ExpectRefusal("rm nothing", "nothing");
  ExpectRefusal("check llm " + tiny + " /no/such.json", "/no/such.json");
  std::ofstream(Path("golden.json")) << "{\"model\": 3}";
  ExpectRefusal("check llm " + tiny + " " + Path("golden.json"), "sample_ids");
  std::ofstream(Path("chat.json")) << R"([{"role": "user", "content": 3}])";
  ExpectRefusal("tokenize " + tiny + " --chat " + Path("chat.json"), "messages[0].content");
}

TEST_F(CliTest, APromptLongerThanTheContextNamesBothNumbers) {
  const std::string tiny = Path("tiny.gguf"), file = Path("long.txt");
  std::ofstream(file) << std::string(3000, 'x');
  std::string tokens = Run("tokenize " + tiny + " --count -f " + file).out;
  tokens.pop_back();  // the newline
  ASSERT_GT(std::stoi(tokens), 1000);
  for (const std::string verb : {"run --raw", "score"}) {
    const std::string command = verb + " " + tiny + " -f " + file;
    const std::string line = Refusal(command);
    EXPECT_NE(line.find(tokens + " tokens"), std::string::npos) << line;
    EXPECT_NE(line.find("the context holds 128"), std::string::npos) << line;
    ExpectRefusal(command + " --ctx 99", "the context holds 99 ");
  }
  ExpectRefusal("run " + tiny + " -p x --ctx 1000000000 --rope-scaling yarn", "GB of KV cache");
}

TEST_F(CliTest, AContextBeyondTheTrainedOneWorksWithAWarning) {
  std::ofstream(Path("long.txt")) << std::string(3000, 'x');  // the model was trained on 128
  const std::string score =
      "score " + Path("tiny.gguf") + " --ctx 4096 --json -f " + Path("long.txt");
  const auto loss = [&](const std::string& options, bool warns) {
    const Outcome outcome = Run(score + options);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err.find("beyond the 128 tokens") != std::string::npos, warns) << outcome.err;
    return json::parse(outcome.out)["mean_nll"].get<double>();
  };
  const double plain = loss("", true);
  EXPECT_EQ(loss(" --rope-scaling none", true), plain);
  std::set<double> all = {plain};
  for (const char* scaling : {"linear", "ntk", "yarn"}) {
    all.insert(loss(std::string(" --rope-scaling ") + scaling, false));
  }
  EXPECT_EQ(all.size(), 4u);  // each scaling is another computation
}

TEST_F(CliTest, ErrorsAreJsonOnRequest) {
  const Outcome outcome = Run("run /no/such/file.gguf -p x --json");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(json::parse(outcome.out)["error"]["code"], "not_found");
}

TEST_F(CliTest, InvalidUtf8AndEmptyPromptsAreFine) {
  const Outcome broken =
      Run("run " + Path("tiny.gguf") + " --raw -n 2 --json", "\xff\xc3 ok \xe2\x82");
  EXPECT_EQ(broken.status, 0) << broken.err;
  const Outcome empty = Run("run " + Path("tiny.gguf") + " --raw -n 2 --json", "");
  EXPECT_EQ(empty.status, 2);
  EXPECT_NE(empty.err.find("empty"), std::string::npos) << empty.err;
}

TEST_F(CliTest, AFullDiskIsNoSuccess) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  const Outcome outcome = Run("inspect " + Path("tiny.gguf") + " >/dev/full");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("standard output"), std::string::npos) << outcome.err;
}

// Ctrl-C ends a one-shot run quickly, with the text so far and the status of an interrupted
// program.
TEST_F(CliTest, CtrlCStopsCleanly) {
  MakeTinyModel({.context = 100000}).Write(Path("long.gguf"));
  const std::string command = "exec " FOVEATE_PROGRAM " run '" + Path("long.gguf") +
                              "' -p hello --ignore-eos >'" + Path("out") + "' 2>'" + Path("err") +
                              "'";
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  while (Slurp(Path("out")).size() < 20) {
    ASSERT_EQ(waitpid(child, &status, WNOHANG), 0) << "ended early: " << Slurp(Path("err"));
    usleep(20000);
  }
  kill(child, SIGINT);
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_NE(Slurp(Path("err")).find("cancelled"), std::string::npos);
}

}  // namespace
}  // namespace foveate
