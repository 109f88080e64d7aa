// The makers of test models are tests' foundations: what they write must be what was asked for.
#include "tests/support/tiny_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "reference/llm_oracle.h"

namespace foveate::reference {
namespace {

const std::vector<std::int32_t> kTokens = {3, 30, 17, 3, 3, 25, 9, 39, 0, 12};

std::vector<double> LogitsOf(const GgufFile& file) { return LlmOracle(file).Logits(kTokens); }

std::vector<double> LogitsOf(const GgufWriter& writer) {
  const std::vector<std::byte> image = writer.Bytes();
  return LogitsOf(GgufFile::Parse(image, "tiny"));
}

TEST(TinyModel, DependsOnTheSeedAlone) {
  EXPECT_EQ(MakeTinyModel({.seed = 5}).Bytes(), MakeTinyModel({.seed = 5}).Bytes());
  EXPECT_NE(LogitsOf(MakeTinyModel({.seed = 5})), LogitsOf(MakeTinyModel({.seed = 6})));
}

class StoredType : public testing::TestWithParam<TensorType> {};

TEST_P(StoredType, IsWrittenAndCloseToFloat) {
  const TinyModelOptions plain = {.tied = false};
  TinyModelOptions options = plain;
  options.embedding_type = options.output_type = GetParam();
  options.attention_type = options.ffn_type = GetParam();
  const std::vector<std::byte> image = MakeTinyModel(options).Bytes();
  const GgufFile file = GgufFile::Parse(image, "tiny");
  for (const StoredTensor& tensor : file.tensors()) {
    EXPECT_EQ(tensor.type, tensor.shape.size() == 2 ? GetParam() : TensorType::kF32) << tensor.name;
  }
  const std::vector<double> exact = LogitsOf(MakeTinyModel(plain));
  const std::vector<double> rounded = LogitsOf(file);
  ASSERT_EQ(exact.size(), rounded.size());
  double product = 0, a = 0, b = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    product += exact[i] * rounded[i];
    a += exact[i] * exact[i];
    b += rounded[i] * rounded[i];
  }
  const double cosine = product / std::sqrt(a * b);
  EXPECT_GT(cosine, 0.9);
  EXPECT_LT(cosine, 1);
}

INSTANTIATE_TEST_SUITE_P(Types, StoredType,
                         testing::Values(TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0,
                                         TensorType::kQ5_1, TensorType::kQ5_0, TensorType::kQ4_1,
                                         TensorType::kQ4_0),
                         [](const auto& info) { return std::string(TensorTypeName(info.param)); });

TEST(TinyModel, RefusesRowsThatDoNotDivideIntoBlocks) {
  EXPECT_THROW(MakeTinyModel({.ffn = 80, .ffn_type = TensorType::kQ8_0}), std::invalid_argument);
}

TEST(TinyModel, VocabularyFillsTheEmbedding) {
  for (TinyTokenizer tokenizer : {TinyTokenizer::kByteLevel, TinyTokenizer::kSentencePiece}) {
    for (std::int64_t vocab : {64, 400, 421}) {
      const std::vector<std::byte> image =
          MakeTinyModel({.vocab = vocab, .tokenizer = tokenizer}).Bytes();
      const GgufFile file = GgufFile::Parse(image, "tiny");
      const auto tokens = *file.GetArray<std::string_view>("tokenizer.ggml.tokens");
      EXPECT_EQ(static_cast<std::int64_t>(tokens.size()), vocab);
      EXPECT_EQ(file.FindTensor("token_embd.weight")->rows(), vocab);
      const std::set<std::string_view> distinct(tokens.begin(), tokens.end());
      EXPECT_EQ(distinct.size(), tokens.size());
    }
  }
}

TEST(GgufWriter, ShardsEqualTheWholeModel) {
  const auto folder = std::filesystem::temp_directory_path() / "foveate_shards_test";
  std::filesystem::create_directories(folder);
  GgufWriter writer = MakeTinyModel({});
  writer.SetAlignment(64);  // each shard must say so
  const std::vector<std::string> paths = writer.WriteShards((folder / "tiny").string(), 3);
  ASSERT_EQ(paths.size(), 3u);
  EXPECT_EQ(std::filesystem::path(paths[2]).filename(), "tiny-00003-of-00003.gguf");
  EXPECT_EQ(LogitsOf(GgufFile::Open(paths[0])), LogitsOf(writer));
  std::filesystem::remove_all(folder);
}

TEST(GgufWriter, AlignmentMovesTensorsButNotTheirNumbers) {
  GgufWriter writer = MakeTinyModel({});
  const std::vector<double> before = LogitsOf(writer);
  writer.SetAlignment(256);
  EXPECT_EQ(LogitsOf(writer), before);
}

TEST(GgufWriter, EveryKindOfValueComesBack) {
  GgufWriter writer;
  writer.Add("text", "déjà vu");
  writer.Add("u8", std::uint8_t{200});
  writer.Add("i16", std::int16_t{-300});
  writer.Add("u64", std::uint64_t{1} << 40);
  writer.Add("f32", 1.25f);
  writer.Add("f64", -1e300);
  writer.Add("flag", true);
  writer.Add("flags", std::vector<bool>{true, false, true});
  writer.Add("words", std::vector<std::string>{"a", "", "ccc"});
  writer.Add("numbers", std::vector<std::int32_t>{-1, 2});
  const std::vector<std::byte> image = writer.Bytes();
  const GgufFile file = GgufFile::Parse(image, "values");
  ASSERT_EQ(file.metadata().size(), 10u);
  EXPECT_EQ(file.Get<std::string_view>("text"), "déjà vu");
  EXPECT_EQ(file.Get<std::int64_t>("u8"), 200);
  EXPECT_EQ(file.Get<std::int64_t>("i16"), -300);
  EXPECT_EQ(file.Get<std::uint64_t>("u64"), std::uint64_t{1} << 40);
  EXPECT_EQ(file.Get<float>("f32"), 1.25f);
  EXPECT_EQ(file.Get<double>("f64"), -1e300);
  EXPECT_EQ(file.Get<bool>("flag"), true);
  EXPECT_EQ(file.GetArray<bool>("flags"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(file.GetArray<std::string_view>("words"),
            (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(file.GetArray<std::int64_t>("numbers"), (std::vector<std::int64_t>{-1, 2}));
}

}  // namespace
}  // namespace foveate::reference
