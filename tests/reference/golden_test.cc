// The oracle against logits of an independent float64 program, for one small model of each kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "format/safetensors.h"
#include "reference/llm_oracle.h"

namespace foveate::reference {
namespace {

template <typename T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) return {};
  std::vector<T> values(tensor->bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, LogitsAgree) {
  const std::string data = FOVEATE_TEST_DATA;
  const auto goldens = SafetensorsFile::Open(data + "/tiny_models.safetensors");
  const auto tokens = Values<std::int32_t>(goldens, std::string(GetParam()) + ".tokens");
  const auto expected = Values<float>(goldens, std::string(GetParam()) + ".logits");
  const auto file = GgufFile::Open(data + "/tiny_" + GetParam() + ".gguf");
  const LlmOracle oracle(file);

  const std::vector<double> logits = oracle.Logits(tokens);
  ASSERT_EQ(logits.size(), tokens.size() * 96);
  ASSERT_EQ(logits.size(), expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    worst = std::max(worst, std::abs(logits[i] - expected[i]));
  }
  EXPECT_LT(worst, 1e-5);
  RecordProperty("worst", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Values("llama", "llama_untied_mha", "llama3_freqs",
                                         "llama_linear", "llama_yarn", "qwen2", "qwen3", "gemma2",
                                         "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace foveate::reference
