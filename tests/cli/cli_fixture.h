// Runs the program in a folder of its own that holds a tiny model.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/tiny_model.h"

namespace foveate {

struct Outcome {
  int status = -1;
  std::string out, err;
};

class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("foveate_cli" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    MakeTinyModel({.context = 128}).Write(Path("tiny.gguf"));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

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

  // What the program says when it refuses: one line on standard error, exit status 2, nothing that
  // looks like a crash.
  std::string Refusal(const std::string& arguments) const {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments << "\n" << outcome.err;
    EXPECT_EQ(outcome.err.substr(0, 9), "foveate: ") << outcome.err;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
    return outcome.err;
  }
  void ExpectRefusal(const std::string& arguments, const std::string& part) const {
    const std::string line = Refusal(arguments);
    EXPECT_NE(line.find(part), std::string::npos) << arguments << "\n" << line;
  }

  std::filesystem::path folder_;
};

}  // namespace foveate
