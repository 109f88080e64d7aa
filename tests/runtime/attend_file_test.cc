// Attention on the tensors of a file: gradients, with and without keys that every row sees.
#include "runtime/attend_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
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
    stored.insert(stored.end(), others_.begin(), others_.end());
    WriteSafetensors(path_, stored, {});
    const SafetensorsFile file = SafetensorsFile::Open(path_);
    return AttendFile(context_, file, ParseAttentionSpec(spec), options);
  }

  // What the error says.
  std::string Refusal(const std::string& spec = "full", const AttendFileOptions& options = {}) {
    try {
      Attend(spec, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
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
  std::vector<StoredTensor> others_;  // of other types than F32
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
  const std::string spec = "neighborhood:shape=5x6,window=3x3";
  EXPECT_NE(Refusal("causal", {.weights = true}).find("of a neighborhood only"), std::string::npos);
  EXPECT_NE(Refusal(spec, {.alibi = true, .weights = true}).find("no soft cap, ALiBi"),
            std::string::npos);
  Add("rpb", {2, 5, 3});
  EXPECT_NE(Refusal(spec, {}).find("rpb has shape [2, 5, 3], expected [2, 5, 5]"),
            std::string::npos);
}

TEST_F(AttendFileTest, RefusesAGradientOfAnotherShape) {
  Add("q", {4, 5, 8});
  Add("k", {2, 7, 8});
  Add("v", {2, 7, 6});
  Add("dout", {4, 5, 8});
  const std::string message = Refusal();
  EXPECT_NE(message.find("dout has shape [1, 4, 5, 8], expected that of out, [1, 4, 5, 6]"),
            std::string::npos)
      << message;
}

// A mask is a mask, whether it is said by booleans, -infinity or a large negative number.
TEST_F(AttendFileTest, MasksOfAnyKindAgree) {
  for (const char* name : {"q", "k", "v"}) Add(name, {2, 6, 8});
  const std::vector<float> causal = Attend("causal").out;
  const auto expect_causal = [&](const std::string& what) {
    const std::vector<float> out = Attend().out;
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], causal[i], 1e-6) << what;
  };
  std::vector<std::byte> seen(6 * 6);
  for (int i = 0; i < 36; ++i) seen[i] = std::byte{i % 6 <= i / 6};
  for (const TensorType type : {TensorType::kBool, TensorType::kU8}) {
    others_ = {{"bias", type, {6, 6}, seen}};
    expect_causal(std::string(TensorTypeName(type)));
  }
  others_.clear();
  Add("bias", {6, 6});
  for (const float hidden : {-std::numeric_limits<float>::infinity(), -1e38f}) {
    for (int i = 0; i < 36; ++i) Tensor("bias").values[i] = i % 6 <= i / 6 ? 0 : hidden;
    expect_causal(std::to_string(hidden));
  }
}

TEST_F(AttendFileTest, RefusesTensorsOfOtherShapesAndTypes) {
  for (const char* name : {"q", "k", "v"}) Add(name, {2, 6, 8});
  const std::vector<std::byte> bytes(2 * 8);
  others_ = {{"sink", TensorType::kI64, {2}, bytes}};
  EXPECT_NE(Refusal().find("tensor sink is I64, expected F32"), std::string::npos) << Refusal();
  others_ = {{"sink", TensorType::kF32, {4}, bytes}};
  EXPECT_NE(Refusal().find("sink has shape [4], expected [2]"), std::string::npos) << Refusal();
  others_ = {{"bias", TensorType::kI64, {2}, bytes}};
  EXPECT_NE(Refusal().find("tensor bias is I64, expected F32"), std::string::npos) << Refusal();
  others_.clear();
  EXPECT_NE(Refusal("heads(0=full;1-2=causal)").find("names head 2, but there are 2 (0 to 1)"),
            std::string::npos);
  Add("extra_k", {1, 3, 8});
  Add("extra_v", {2, 3, 8});
  EXPECT_NE(Refusal().find("extra_k has shape [1, 1, 3, 8], expected [1, 2, E, 8]"),
            std::string::npos)
      << Refusal();
}

// Of a number of heads that is no power of two: the slopes of the power below it, then every second
// one of the power above it (Press et al. 2021).
TEST(AlibiSlopes, AreTheSequenceOfThePowersBesideTheNumberOfHeads) {
  const auto expect = [](std::int64_t heads, const std::vector<double>& exponents) {
    const std::vector<float> slopes = AlibiSlopes(heads);
    ASSERT_EQ(slopes.size(), exponents.size());
    for (std::size_t i = 0; i < slopes.size(); ++i) {
      EXPECT_FLOAT_EQ(slopes[i], static_cast<float>(std::exp2(-exponents[i]))) << heads << " " << i;
    }
  };
  expect(6, {2, 4, 6, 8, 1, 3});
  expect(8, {1, 2, 3, 4, 5, 6, 7, 8});
  expect(9, {1, 2, 3, 4, 5, 6, 7, 8, 0.5});
  expect(12, {1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5});
}

}  // namespace
}  // namespace foveate
