// A tiny DiNAT against a PyTorch implementation (bench/make_nat_golden.py): windows that fill their
// grid, dilations, grids smaller than a window, scaled residuals, images of odd sizes.
#include "vision/nat.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/throw.h"
#include "kernels/vector_ops.h"
#include "tests/support/isas.h"

namespace foveate {
namespace {

SafetensorsFile Golden() {
  return SafetensorsFile::Open(std::string(FOVEATE_TEST_DATA) + "/nat.safetensors");
}

std::vector<float> Floats(const StoredTensor& tensor) {
  std::vector<float> values(tensor.elements());
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

class NatTest : public ::testing::TestWithParam<Isa> {};

TEST_P(NatTest, LogitsAreThoseOfPyTorch) {
  Context context({.threads = 2, .isa = GetParam()});
  const SafetensorsFile file = Golden();
  const Nat nat = Nat::Load(context, file);
  for (const std::string name : {"odd", "tiny"}) {
    SCOPED_TRACE(name);
    const StoredTensor& image = *file.FindTensor("image." + name);
    const std::vector<float> pixels = Floats(image);
    const std::vector<float> expected = Floats(*file.FindTensor("logits." + name));
    const std::vector<float> logits = nat.Logits(
        context,
        MakeView<const float>(pixels.data(), image.shape[0], image.shape[1], image.shape[2]));
    ASSERT_EQ(logits.size(), expected.size());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      EXPECT_NEAR(logits[i], expected[i], 1e-5 * (1 + std::abs(expected[i]))) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, NatTest, ::testing::ValuesIn(testing::DistinctIsas(VectorOpsFor)),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

// The golden without one tensor, or with another shape for it.
std::string ErrorOf(const std::string& name, const std::vector<std::int64_t>& shape,
                    std::map<std::string, std::string> metadata = {}) {
  const SafetensorsFile whole = Golden();
  std::vector<StoredTensor> tensors;
  for (StoredTensor tensor : whole.tensors()) {
    if (tensor.name == name) {
      if (shape.empty()) continue;
      tensor.shape = shape;
    }
    tensors.push_back(tensor);
  }
  const std::string path = ::testing::TempDir() + "/damaged_nat.safetensors";
  WriteSafetensors(path, tensors, metadata);
  Context context({.threads = 1});
  try {
    Nat::Load(context, SafetensorsFile::Open(path));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(NatLoad, NamesWhatDoesNotFit) {
  const auto expect = [](const std::string& error, const char* part) {
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  EXPECT_EQ(ErrorOf("", {}), "no error");
  expect(ErrorOf("levels.1.blocks.0.mlp.fc2.weight", {}),
         "has no tensor 'levels.1.blocks.0.mlp.fc2.weight'");
  expect(ErrorOf("levels.0.blocks.1.attn.rpb", {25, 2, 1}), "levels.0.blocks.1.attn.rpb");
  expect(ErrorOf("patch_embed.proj.0.weight", {12, 3, 3}), "expected [4, 3, 3, 3]");
  expect(ErrorOf("", {}, {{"dilations", "[[1]]"}}), "dilations has none of 1 or more for");
  expect(ErrorOf("", {}, {{"dilations", "many"}}), "not a list of lists");
}

}  // namespace
}  // namespace foveate
