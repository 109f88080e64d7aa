// The forward pass against logits of an independent float64 program, in every way of running it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "format/safetensors.h"
#include "foveate/error.h"
#include "model/decoder.h"
#include "reference/llm_oracle.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

std::string DataPath(const std::string& name) { return std::string(FOVEATE_TEST_DATA "/") + name; }

// Logits [n, V] of all positions, the tokens being evaluated in chunks of `chunk`.
std::vector<float> LogitsOf(Decoder& decoder, std::span<const TokenId> tokens, std::int64_t chunk) {
  const std::int64_t vocabulary = decoder.model().config.vocabulary;
  const std::int64_t count = static_cast<std::int64_t>(tokens.size());
  std::vector<float> logits(count * vocabulary);
  for (std::int64_t start = 0; start < count; start += chunk) {
    const std::int64_t size = std::min(chunk, count - start);
    decoder.Evaluate(tokens.subspan(start, size));
    decoder.Logits(0, MakeView(&logits[start * vocabulary], size, vocabulary));
  }
  return logits;
}

double MaxDifference(std::span<const float> a, std::span<const float> b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    most = std::isnan(difference) ? INFINITY : std::max(most, difference);
  }
  return most;
}

struct TinyGolden {
  std::vector<TokenId> tokens;
  std::vector<float> logits;
};

TinyGolden ReadTinyGolden(const std::string& name) {
  const SafetensorsFile file = SafetensorsFile::Open(DataPath("tiny_models.safetensors"));
  const StoredTensor* tokens = file.FindTensor(name + ".tokens");
  const StoredTensor* logits = file.FindTensor(name + ".logits");
  EXPECT_TRUE(tokens != nullptr && logits != nullptr) << name;
  TinyGolden golden;
  golden.logits.resize(logits->elements());
  std::memcpy(golden.logits.data(), logits->bytes.data(), logits->bytes.size());
  for (std::int64_t i = 0; i < tokens->elements(); ++i) {
    if (tokens->type == TensorType::kI64) {
      std::int64_t id;
      std::memcpy(&id, tokens->bytes.data() + i * sizeof(id), sizeof(id));
      golden.tokens.push_back(static_cast<TokenId>(id));
    } else {
      std::int32_t id;
      std::memcpy(&id, tokens->bytes.data() + i * sizeof(id), sizeof(id));
      golden.tokens.push_back(id);
    }
  }
  return golden;
}

class TinyGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(TinyGoldenTest, AgreesInEveryExecutionMode) {
  const TinyGolden golden = ReadTinyGolden(GetParam());
  for (const Isa isa : SupportedIsas()) {
    for (const int threads : {1, 3}) {
      Context context({.threads = threads, .isa = isa});
      const auto model =
          LoadLanguageModel(context, DataPath(std::string("tiny_") + GetParam() + ".gguf"));
      for (const KvType kv : {KvType::kF32, KvType::kF16}) {
        Decoder decoder(
            context, model,
            {.chunk = 16, .key_type = kv, .value_type = kv, .activations = ActivationMode::kF32});
        for (const std::int64_t chunk : {1, 5, 7, 16}) {
          decoder.Rewind(0);
          const auto logits = LogitsOf(decoder, golden.tokens, chunk);
          EXPECT_LT(MaxDifference(logits, golden.logits), kv == KvType::kF32 ? 1e-4 : 3e-2)
              << IsaName(isa) << ", " << threads << " threads, chunks of " << chunk << ", KV "
              << KvTypeName(kv);
        }
      }
    }
  }
}

TEST_P(TinyGoldenTest, RewindingGivesTheSameLogitsAgain) {
  const TinyGolden golden = ReadTinyGolden(GetParam());
  Context context({.threads = 2});
  const auto model =
      LoadLanguageModel(context, DataPath(std::string("tiny_") + GetParam() + ".gguf"));
  Decoder decoder(context, model, {.chunk = 8, .activations = ActivationMode::kF32});
  const std::int64_t vocabulary = model->config.vocabulary;
  const auto first = LogitsOf(decoder, golden.tokens, 8);
  const std::int64_t count = static_cast<std::int64_t>(golden.tokens.size());
  for (const std::int64_t position : {count - 1, count / 2, std::int64_t{0}}) {
    if (!decoder.Rewind(position)) {
      EXPECT_EQ(decoder.position(), count);  // a refused rewind changes nothing
      continue;
    }
    const auto again = LogitsOf(decoder, std::span(golden.tokens).subspan(position), 3);
    EXPECT_LT(MaxDifference(again, std::span(first).subspan(position * vocabulary)), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TinyGoldenTest,
                         testing::Values("llama", "llama_untied_mha", "llama3_freqs",
                                         "llama_linear", "llama_yarn", "qwen2", "qwen3", "gemma2",
                                         "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

// Random models of the architectures and features that no golden file covers.
struct RandomModel {
  std::string name;
  TinyModelOptions options;
  std::function<void(GgufWriter&)> extra = {};
};

std::vector<RandomModel> RandomModels() {
  return {
      {"smollm3", {.architecture = "smollm3", .layers = 5}},
      {"mistral3",
       {.architecture = "mistral3", .context = 128},
       [](GgufWriter& writer) {
         writer.Add("mistral3.rope.scaling.type", "yarn");
         writer.Add("mistral3.rope.scaling.factor", 4.0f);
         writer.Add("mistral3.rope.scaling.original_context_length", std::uint32_t{16});
         writer.Add("mistral3.rope.scaling.yarn_log_multiplier", 1.0f);
         writer.Add("mistral3.attention.temperature_scale", 0.1f);
       }},
      {"wide_groups", {.heads = 6, .kv_heads = 1, .head_dim = 10, .ffn = 70}},
      {"values_narrower", {.head_dim = 32, .value_dim = 8}},
      {"partial_rotation", {.head_dim = 24, .rope_dimensions = 8}},
      {"fused", {.fused_qkv = true, .qkv_biases = true}},
      {"biases", {.tied = false, .all_biases = true}},
      {"per_layer",
       {.layers = 3,
        .layer_heads = {4, 2, 6},
        .layer_kv_heads = {2, 1, 3},
        .layer_ffn = {96, 64, 128}}},
      {"qwen3", {.architecture = "qwen3", .heads = 6, .kv_heads = 3, .head_dim = 32}},
      {"gemma3_window", {.architecture = "gemma3", .layers = 7, .window = 9}},
      {"gemma3_no_window", {.architecture = "gemma3", .layers = 7, .rope_base = 1e6}},
      {"gemma2_window", {.architecture = "gemma2", .layers = 4, .window = 3, .final_cap = 5}},
      {"quantised",
       {.embed = 64,
        .ffn = 96,
        .embedding_type = TensorType::kQ8_0,
        .attention_type = TensorType::kQ4_1,
        .ffn_type = TensorType::kQ5_0}},
      {"halves",
       {.embedding_type = TensorType::kF16,
        .attention_type = TensorType::kBF16,
        .ffn_type = TensorType::kF16}},
  };
}

TEST(RandomModels, AgreeWithTheOracle) {
  Context context({.threads = 2});
  for (const RandomModel& random : RandomModels()) {
    GgufWriter writer = MakeTinyModel(random.options);
    if (random.extra) random.extra(writer);
    const std::string path =
        testing::TempDir() + "foveate_" + random.name + std::to_string(getpid()) + ".gguf";
    writer.Write(path);
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 70; ++i) tokens.push_back((i * i * 31 + 7) % 400);

    const auto model = LoadLanguageModel(context, path);
    Decoder decoder(context, model,
                    {.chunk = 32,
                     .key_type = KvType::kF32,
                     .value_type = KvType::kF32,
                     .activations = ActivationMode::kF32});
    const auto logits = LogitsOf(decoder, tokens, 19);
    const std::vector<double> expected = reference::LlmOracle(GgufFile::Open(path)).Logits(tokens);
    ASSERT_EQ(expected.size(), logits.size()) << random.name;
    double most = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      most = std::max(most, std::abs(expected[i] - logits[i]));
    }
    EXPECT_LT(most, 2e-4) << random.name;
    std::remove(path.c_str());
  }
}

TEST(Decoder, RefusesWhatItCannotDoAndKeepsItsState) {
  Context context({.threads = 1});
  const auto model = LoadLanguageModel(context, DataPath("tiny_llama.gguf"));
  Decoder decoder(context, model, {.context = 8, .chunk = 8});
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6};
  decoder.Evaluate(tokens);
  EXPECT_THROW(decoder.Evaluate(tokens), Error);                    // beyond the context
  EXPECT_THROW(decoder.Evaluate(std::vector<TokenId>{96}), Error);  // beyond the vocabulary
  EXPECT_THROW(decoder.Evaluate(std::vector<TokenId>{-1}), Error);
  EXPECT_THROW(decoder.Evaluate(std::vector<TokenId>{}), Error);
  EXPECT_EQ(decoder.position(), 6);
  EXPECT_FALSE(decoder.Rewind(7));
  decoder.Evaluate(std::vector<TokenId>{7, 8});
  EXPECT_EQ(decoder.position(), 8);
}

TEST(Decoder, SizesTheCacheBeforeItAllocates) {
  Context context({.threads = 1});
  const auto model = LoadLanguageModel(context, DataPath("tiny_llama.gguf"));
  try {
    Decoder(context, model, {.context = std::int64_t{1} << 40});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kLimit);
  }
  // head_dim 8 does not divide into the blocks of a quantised cache.
  EXPECT_THROW(KvBytes(model->config, {.context = 64, .key_type = KvType::kQ8_0}), Error);
}

TEST(Config, NamesTheMissingKeyAndTheUnknownArchitecture) {
  const auto message = [](GgufWriter writer) -> std::string {
    const std::vector<std::byte> image = writer.Bytes();
    try {
      ReadModelConfig(GgufFile::Parse(image, "broken"));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  GgufWriter missing = MakeTinyModel({});
  missing.Remove("llama.attention.layer_norm_rms_epsilon");
  EXPECT_NE(message(missing).find("llama.attention.layer_norm_rms_epsilon"), std::string::npos);
  GgufWriter heads = MakeTinyModel({});
  heads.Remove("llama.attention.head_count_kv");
  heads.Add("llama.attention.head_count_kv", std::uint32_t{3});
  EXPECT_NE(message(heads).find("not a multiple of the 3"), std::string::npos);
  GgufWriter unknown = MakeTinyModel({});
  unknown.Remove("general.architecture");
  unknown.Add("general.architecture", "mamba2");
  EXPECT_NE(message(unknown).find("'mamba2' (supported: llama, "), std::string::npos);
}

}  // namespace
}  // namespace foveate
