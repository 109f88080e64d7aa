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
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    std::mt19937 random(std::hash<std::string>()(name));
    std::normal_distribution<float> normal;
    NamedTensor tensor{name, shape, std::vector<float>(count)};
    for (float& value : tensor.values) value = normal(random);
    tensors_.push_back(std::move(tensor));
  }

  AttendFileResult Attend() {
    std::vector<StoredTensor> stored;
    for (const NamedTensor& tensor : tensors_) {
      stored.push_back(
          {tensor.name, TensorType::kF32, tensor.shape, std::as_bytes(std::span(tensor.values))});
    }
    WriteSafetensors(path_, stored, {});
    const SafetensorsFile file = SafetensorsFile::Open(path_);
    return AttendFile(context_, file, ParseAttentionSpec("full"), {});
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
  tensors_.resize(4);
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
