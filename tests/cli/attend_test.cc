// `foveate attend` as people run it: files in, files out, and what it says of files that do not
// fit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "format/safetensors.h"
#include "tests/cli/cli_fixture.h"

namespace foveate {
namespace {

using Shape = std::vector<std::int64_t>;

class AttendTest : public CliTest {
 protected:
  // Random numbers unless `values` are given.
  void Add(const std::string& name, const Shape& shape, std::vector<float> values = {}) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    std::mt19937 random(static_cast<unsigned>(values_.size()));
    std::normal_distribution<float> normal;
    if (values.empty()) {
      values.resize(count);
      for (float& value : values) value = normal(random);
    }
    values_.push_back(std::move(values));
    stored_.push_back({name, TensorType::kF32, shape, {}});
  }

  Outcome Attend(const std::string& options) {
    for (std::size_t i = 0; i < stored_.size(); ++i) {
      stored_[i].bytes = std::as_bytes(std::span(values_[i]));
    }
    WriteSafetensors(Path("in.safetensors"), stored_, {});
    return Run("attend " + Path("in.safetensors") + " -o " + Path("result.safetensors") + " " +
               options);
  }

  std::string Refused(const std::string& options) {
    Attend(options);
    return Refusal("attend " + Path("in.safetensors") + " -o " + Path("none.safetensors") + " " +
                   options);
  }

  std::vector<std::vector<float>> values_;
  std::vector<StoredTensor> stored_;
};

TEST_F(AttendTest, WritesWhatTheOperatorGives) {
  // Two keys of equal score: the mean of their values, and log 2 + the score.
  Add("q", {1, 1, 2}, {1, 0});
  Add("k", {1, 2, 2}, {2, 5, 2, -3});
  Add("v", {1, 2, 1}, {4, 8});
  const Outcome outcome = Attend("--scale 1 --json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["out"], nlohmann::json({1, 1, 1, 1}));
  const SafetensorsFile file = SafetensorsFile::Open(Path("result.safetensors"));
  EXPECT_EQ(file.FindTensor("out")->shape, (Shape{1, 1, 1, 1}));
  EXPECT_FLOAT_EQ(*reinterpret_cast<const float*>(file.FindTensor("out")->bytes.data()), 6);
  EXPECT_FLOAT_EQ(*reinterpret_cast<const float*>(file.FindTensor("lse")->bytes.data()),
                  2 + std::log(2.0f));
}

TEST_F(AttendTest, SaysWhichTensorItDoesNotKnow) {
  for (const char* name : {"q", "k", "v", "sinks"}) Add(name, {2, 3, 4});
  const Outcome outcome = Attend("");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_NE(outcome.err.find("tensor sinks is none that attention knows"), std::string::npos)
      << outcome.err;
}

TEST_F(AttendTest, RefusesWhatDoesNotFitAndWritesNothing) {
  Add("q", {4, 3, 8});
  Add("k", {2, 3, 8});
  EXPECT_NE(Refused("").find("has no tensor 'v'"), std::string::npos);
  Add("v", {2, 3, 8});
  EXPECT_NE(Refused("--softcap 0").find("--softcap: 0, expected a number above 0"),
            std::string::npos);
  EXPECT_NE(Refused("-a 'heads(0-3=full;4-=causal)'").find("names head 4, but there are 4"),
            std::string::npos);
  EXPECT_NE(Refused("-a window").find("window needs left"), std::string::npos);
  Add("extra_k", {2, 1, 8});
  EXPECT_NE(Refused("").find("has no tensor 'extra_v'"), std::string::npos);
  Add("extra_v", {2, 2, 8});
  EXPECT_NE(Refused("").find("extra_v has 2 tokens and extra_k 1"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(Path("none.safetensors")));
}

}  // namespace
}  // namespace foveate
