// Attention on the tensors of a file: gradients, with and without keys that every row sees.
#include "runtime/attend_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/throw.h"

namespace foveate {
namespace {

using Shape = std::vector<std::int64_t>;

class AttendFileTest : public ::testing::Test {
 protected:
  ~AttendFileTest() override { std::filesystem::remove(path_); }

  // Random tensors; the same name and size give the same numbers.
  void Add(const std::string& name, const Shape& shape) {
    std::mt19937 random(std::hash<std::string>()(name));
    std::normal_distribution<float> normal;
    NamedTensor tensor(name, shape);
    for (float& value : tensor.values) value = normal(random);
    tensors_.push_back(std::move(tensor));
  }

  AttendFileResult Attend(const std::string& spec = "full", const AttendFileOptions& options = {}) {
    std::vector<StoredTensor> stored;
    for (const NamedTensor& tensor : tensors_) {
      stored.push_back(
          {tensor.name, TensorType::kF32, tensor.shape, std::as_bytes(std::span(tensor.values))});
    }
    WriteSafetensors(path_, stored, {});
    const SafetensorsFile file = SafetensorsFile::Open(path_);
    return AttendFile(context_, file, ParseAttentionSpec(spec), options);
  }

  NamedTensor& Tensor(const std::string& name) {
    for (NamedTensor& tensor : tensors_) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << name;
    return tensors_.front();
  }

  static const NamedTensor& Gradient(const AttendFileResult& result, const std::string& name) {
    for (const NamedTensor& tensor : result.gradients) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << name;
    return result.gradients.front();
  }

  Context context_{{.threads = 2}};
  std::string path_ = (std::filesystem::temp_directory_path() /
                       ("foveate_attend" + std::to_string(getpid()) + ".safetensors"))
                          .string();
  std::vector<NamedTensor> tensors_;
};

TEST_F(AttendFileTest, GradientsHaveTheShapesOfTheirTensors) {
  Add("q", {4, 5, 8});
  Add("k", {2, 7, 8});
  Add("v", {2, 7, 6});
  EXPECT_TRUE(Attend().gradients.empty());
  Add("dout", {4, 5, 6});
  Add("sink", {4});
  const AttendFileResult result = Attend();
  EXPECT_EQ(result.gradients.size(), 4u);
  EXPECT_EQ(Gradient(result, "dq").shape, (Shape{1, 4, 5, 8}));
  EXPECT_EQ(Gradient(result, "dk").shape, (Shape{1, 2, 7, 8}));
  EXPECT_EQ(Gradient(result, "dv").shape, (Shape{1, 2, 7, 6}));
  EXPECT_EQ(Gradient(result, "d_sink").shape, (Shape{4}));
}

// Keys that every row sees are keys: as if they stood behind the others.
TEST_F(AttendFileTest, ExtraKeysGetWhatKeysGet) {
  Add("q", {3, 5, 8});
  Add("k", {1, 7, 8});
  Add("v", {1, 7, 6});
  Add("dout", {3, 5, 6});
  Add("extra_k", {1, 2, 8});
  Add("extra_v", {1, 2, 6});
  const AttendFileResult apart = Attend();
  for (const std::string name : {"k", "v"}) {
    NamedTensor& tensor = Tensor(name);
    const NamedTensor& extra = Tensor("extra_" + name);
    tensor.shape[1] = 9;
    tensor.values.insert(tensor.values.end(), extra.values.begin(), extra.values.end());
  }
  tensors_.erase(tensors_.begin() + 4, tensors_.end());
  const AttendFileResult together = Attend();
  for (const std::string name : {"dq", "dk", "dv"}) {
    std::vector<float> values = Gradient(apart, name).values;
    if (name != "dq") {
      const auto& extra = Gradient(apart, "d_extra_" + name.substr(1)).values;
      values.insert(values.end(), extra.begin(), extra.end());
    }
    const std::vector<float>& expected = Gradient(together, name).values;
    ASSERT_EQ(values.size(), expected.size()) << name;
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], expected[i], 2e-6) << name << " element " << i;
    }
  }
}

// Stored weights give what the fused operator gives, beside keys that every row sees too.
TEST_F(AttendFileTest, StoredWeightsAgreeWithTheOperator) {
  for (const char* name : {"q", "dout"}) Add(name, {2, 2, 30, 8});
  for (const char* name : {"k", "v"}) Add(name, {2, 1, 30, 8});
  for (const char* name : {"extra_k", "extra_v"}) Add(name, {2, 1, 3, 8});
  const std::string spec = "neighborhood:shape=5x6,window=3x3";
  const AttendFileResult fused = Attend(spec);
  EXPECT_TRUE(fused.weights.empty());
  const AttendFileResult stored = Attend(spec, {.weights = true});
  ASSERT_EQ(stored.weights.size(), 2u);
  EXPECT_EQ(stored.weights[1].name, "probs");
  EXPECT_EQ(stored.weights[1].shape, (Shape{2, 2, 30, 9}));
  const auto expect_near = [](const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 3e-6) << i;
  };
  expect_near(stored.out, fused.out);
  expect_near(stored.lse, fused.lse);
  ASSERT_EQ(stored.gradients.size(), 5u);
  for (const NamedTensor& gradient : stored.gradients) {
    SCOPED_TRACE(gradient.name);
    expect_near(gradient.values, Gradient(fused, gradient.name).values);
  }
  Add("rpb", {2, 5, 5});
  const AttendFileResult biased = Attend(spec);
  EXPECT_EQ(Gradient(biased, "drpb").shape, (Shape{2, 5, 5}));
}

TEST_F(AttendFileTest, RefusesWhatStoredWeightsDoNotGoWith) {
  for (const char* name : {"q", "k", "v"}) Add(name, {2, 30, 8});
  const auto message = [&](const std::string& spec, const AttendFileOptions& options) {
    try {
      Attend(spec, options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::string spec = "neighborhood:shape=5x6,window=3x3";
  EXPECT_NE(message("causal", {.weights = true}).find("of a neighborhood only"), std::string::npos);
  EXPECT_NE(message(spec, {.alibi = true, .weights = true}).find("no soft cap, ALiBi"),
            std::string::npos);
  Add("rpb", {2, 5, 3});
  EXPECT_NE(message(spec, {}).find("rpb has shape [2, 5, 3], expected [2, 5, 5]"),
            std::string::npos);
}

TEST_F(AttendFileTest, RefusesAGradientOfAnotherShape) {
  Add("q", {4, 5, 8});
  Add("k", {2, 7, 8});
  Add("v", {2, 7, 6});
  Add("dout", {4, 5, 8});
  try {
    Attend();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what())
                  .find("dout has shape [1, 4, 5, 8], expected that of out, [1, 4, 5, 6]"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace foveate
