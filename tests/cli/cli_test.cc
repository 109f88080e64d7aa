// The program itself, as people and scripts run it: what it prints, and how it ends.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "format/safetensors.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Outcome {
  int status = -1;
  std::string out, err;
};

class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("foveate_cli" + std::to_string(getpid()));
    fs::create_directories(folder_);
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    MakeTinyModel({.context = 128}).Write(Path("tiny.gguf"));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  static std::string Slurp(const std::string& path) {
    std::ifstream stream(path);
    std::stringstream text;
    text << stream.rdbuf();
    return text.str();
  }

  // Runs the program through the shell; `arguments` may redirect.
  Outcome Run(const std::string& arguments, const std::string& input = "") const {
    std::ofstream(Path("in")) << input;
    const std::string command = FOVEATE_PROGRAM " <'" + Path("in") + "' >'" + Path("out") +
                                "' 2>'" + Path("err") + "' " + arguments;
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), Slurp(Path("out")),
            Slurp(Path("err"))};
  }

  // One line on standard error, exit status 2, nothing that looks like a crash.
  void ExpectRefusal(const std::string& arguments, const std::string& part) const {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << arguments << "\n" << outcome.err;
    EXPECT_EQ(outcome.err.substr(0, 9), "foveate: ") << outcome.err;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  }

  fs::path folder_;
};

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
  EXPECT_EQ(one["ids"], json::parse(Run(run + "2").out)["ids"]);
  EXPECT_EQ(one["ids"], json::parse(Run(run + "4").out)["ids"]);
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
  std::ofstream(Path("long.txt")) << std::string(3000, 'x');
  const Outcome outcome = Run("run " + Path("tiny.gguf") + " --raw -f " + Path("long.txt"));
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("128"), std::string::npos) << outcome.err;
  const Outcome huge = Run("run " + Path("tiny.gguf") + " -p x --ctx 1000000000");
  EXPECT_EQ(huge.status, 2);
  EXPECT_NE(huge.err.find("GB of KV cache"), std::string::npos) << huge.err;
}

TEST_F(CliTest, AContextBeyondTheTrainedOneWorksWithAWarning) {
  const std::string run =
      "run " + Path("tiny.gguf") + " -p x --temp 0 -n 3 --ignore-eos --json --ctx 512";
  const Outcome plain = Run(run);
  EXPECT_EQ(plain.status, 0);
  EXPECT_NE(plain.err.find("warning"), std::string::npos);
  for (const char* scaling : {"none", "linear", "ntk", "yarn"}) {
    EXPECT_EQ(Run(run + " --rope-scaling " + scaling).status, 0) << scaling;
  }
}

TEST_F(CliTest, ErrorsAreJsonOnRequest) {
  const Outcome outcome = Run("run /no/such/file.gguf -p x --json");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(json::parse(outcome.out)["error"]["code"], "not_found");
}

TEST_F(CliTest, DamagedFilesAreNamedAndNothingCrashes) {
  const std::string whole = Slurp(Path("tiny.gguf"));
  const auto write = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  };
  std::string magic = whole, version = whole, counts = whole;
  magic[0] = 'X';
  version[4] = 77;
  counts.replace(8, 8, std::string(8, '\x7f'));
  for (const std::string& path :
       {write("empty.gguf", ""), write("short.gguf", whole.substr(0, 20)),
        write("cut.gguf", whole.substr(0, whole.size() / 2)), write("magic.gguf", magic),
        write("version.gguf", version), write("counts.gguf", counts)}) {
    ExpectRefusal("run " + path + " -p x", path);
    ExpectRefusal("inspect " + path, path);
    ExpectRefusal("tokenize " + path + " x", path);
  }
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
  while (Slurp(Path("out")).size() < 20) usleep(20000);
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_NE(Slurp(Path("err")).find("cancelled"), std::string::npos);
}

}  // namespace
}  // namespace foveate
