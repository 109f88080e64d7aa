// What the golden models do not reach, through relations that hold whatever the weights are.
#include "reference/llm_oracle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "foveate/error.h"
#include "tests/support/tiny_model.h"

namespace foveate::reference {
namespace {

using Logits = std::vector<double>;

// A model without vocabulary, of 40 tokens unless said otherwise.
TinyModelOptions Small(const std::string& architecture) {
  return {.architecture = architecture, .vocab = 40, .tokenizer = TinyTokenizer::kNone};
}

std::vector<std::int32_t> Tokens(std::int64_t count) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<std::int32_t>((7 * i + i * i / 3 + 5) % 40));
  }
  return tokens;
}

Logits LogitsOf(const GgufWriter& writer, std::span<const std::int32_t> tokens,
                const OracleOptions& options = {}) {
  const std::vector<std::byte> image = writer.Bytes();
  const GgufFile file = GgufFile::Parse(image, "tiny");
  return LlmOracle(file, options).Logits(tokens);
}

Logits LogitsOf(const GgufWriter& writer, const OracleOptions& options = {}) {
  return LogitsOf(writer, Tokens(24), options);
}

double Distance(const Logits& a, const Logits& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
  }
  return worst;
}

constexpr double kSame = 1e-9;
constexpr double kDifferent = 1e-3;

TEST(LlmOracle, EveryArchitectureGivesLogitsOfAModerateSize) {
  for (const char* name : {"llama", "qwen2", "qwen3", "smollm3", "mistral3", "gemma2", "gemma3"}) {
    TinyModelOptions options = Small(name);
    options.layers = 7;
    options.window = 5;
    const Logits logits = LogitsOf(MakeTinyModel(options));
    ASSERT_EQ(logits.size(), 24u * 40u);
    const double squares = std::inner_product(logits.begin(), logits.end(), logits.begin(), 0.0);
    const double deviation = std::sqrt(squares / static_cast<double>(logits.size()));
    EXPECT_GT(deviation, 0.5) << name;
    EXPECT_LT(deviation, 20) << name;
  }
}

TEST(LlmOracle, RowsDoNotDependOnLaterTokensAndCanBeAskedForAlone) {
  TinyModelOptions options = Small("gemma3");
  options.layers = 7;
  options.window = 6;
  const std::vector<std::byte> image = MakeTinyModel(options).Bytes();
  const GgufFile file = GgufFile::Parse(image, "tiny");
  const LlmOracle oracle(file);
  const Logits all = oracle.Logits(Tokens(20));
  const Logits prefix = oracle.Logits(Tokens(13));
  EXPECT_LT(Distance({all.begin(), all.begin() + 13 * 40}, prefix), kSame);
  const Logits last = oracle.Logits(Tokens(20), 19);
  EXPECT_LT(Distance({all.end() - 40, all.end()}, last), kSame);
}

TEST(LlmOracle, FusedQkvEqualsThreeMatrices) {
  TinyModelOptions options = Small("llama");
  options.qkv_biases = true;
  options.value_dim = 24;
  const Logits split = LogitsOf(MakeTinyModel(options));
  options.fused_qkv = true;
  EXPECT_LT(Distance(split, LogitsOf(MakeTinyModel(options))), kSame);
}

TEST(LlmOracle, ArraysPerLayerEqualScalars) {
  TinyModelOptions options = Small("llama");
  const Logits scalars = LogitsOf(MakeTinyModel(options));
  options.layer_heads = {4, 4};
  options.layer_kv_heads = {2, 2};
  options.layer_ffn = {96, 96};
  EXPECT_LT(Distance(scalars, LogitsOf(MakeTinyModel(options))), kSame);
  options.layer_heads = {4, 6};
  options.layer_kv_heads = {1, 3};
  options.layer_ffn = {32, 160};
  EXPECT_GT(Distance(scalars, LogitsOf(MakeTinyModel(options))), kDifferent);
}

// Layers whose attention adds nothing leave the fourth as the only place where order could show.
TEST(LlmOracle, Smollm3HasNoPositionsInTheFourthLayer) {
  TinyModelOptions options = Small("smollm3");
  options.layers = 4;
  GgufWriter writer = MakeTinyModel(options);
  for (int layer = 0; layer < 3; ++layer) {
    const std::string name = "blk." + std::to_string(layer) + ".attn_output.weight";
    writer.Remove(name);
    writer.AddTensorF32(name, {64, 64}, std::vector<float>(64 * 64, 0.0f));
  }
  std::vector<std::int32_t> tokens = Tokens(9);
  const Logits before = LogitsOf(writer, tokens);
  std::reverse(tokens.begin(), tokens.end() - 1);
  const Logits after = LogitsOf(writer, tokens);
  EXPECT_LT(Distance({before.end() - 40, before.end()}, {after.end() - 40, after.end()}), kSame);
}

TEST(LlmOracle, Smollm3EqualsLlamaUntilTheFourthLayer) {
  for (std::int64_t layers : {3, 4}) {
    TinyModelOptions options = Small("smollm3");
    options.layers = layers;
    const Logits smollm3 = LogitsOf(MakeTinyModel(options));
    options.architecture = "llama";
    const double distance = Distance(smollm3, LogitsOf(MakeTinyModel(options)));
    EXPECT_EQ(distance < kSame, layers == 3) << distance;
    EXPECT_EQ(distance > kDifferent, layers == 4) << distance;
  }
}

// In one layer, the last query of length * b + r tokens has the temperature of bucket b: the same
// as a larger score scale.
TEST(LlmOracle, Mistral3TemperatureGrowsWithThePosition) {
  for (std::int64_t count : {4, 5, 8, 9}) {
    TinyModelOptions options = Small("mistral3");
    options.layers = 1;
    GgufWriter hot = MakeTinyModel(options);
    hot.Add("mistral3.attention.temperature_scale", 0.5f);
    hot.Add("mistral3.attention.temperature_length", std::uint32_t{4});
    GgufWriter scaled = MakeTinyModel(options);
    const std::int64_t bucket = (count - 1) / 4;
    scaled.Add("mistral3.attention.scale",
               static_cast<float>(0.25 * (1 + 0.5 * std::log(1.0 + static_cast<double>(bucket)))));
    const Logits a = LogitsOf(hot, Tokens(count));
    const Logits b = LogitsOf(scaled, Tokens(count));
    EXPECT_LT(Distance({a.end() - 40, a.end()}, {b.end() - 40, b.end()}), 1e-5) << count;
  }
}

TEST(LlmOracle, Mistral3TemperatureUsesTheOriginalContextByDefault) {
  GgufWriter named = MakeTinyModel(Small("mistral3"));
  GgufWriter implied = MakeTinyModel(Small("mistral3"));
  for (GgufWriter* writer : {&named, &implied}) {
    writer->Add("mistral3.attention.temperature_scale", 0.5f);
    writer->Add("mistral3.rope.scaling.original_context_length", std::uint32_t{8});
  }
  named.Add("mistral3.attention.temperature_length", std::uint32_t{8});
  EXPECT_LT(Distance(LogitsOf(named), LogitsOf(implied)), kSame);
}

TEST(RopeScaling, FactorOneChangesNothing) {
  const GgufWriter writer = MakeTinyModel(Small("llama"));
  const Logits plain = LogitsOf(writer);
  for (RopeScaling scaling :
       {RopeScaling::kNone, RopeScaling::kLinear, RopeScaling::kNtk, RopeScaling::kYarn}) {
    EXPECT_LT(Distance(plain, LogitsOf(writer, {.rope_scaling = scaling, .rope_factor = 1})),
              kSame);
  }
}

TEST(RopeScaling, AnOptionEqualsTheKeysOfAFile) {
  const GgufWriter plain = MakeTinyModel(Small("llama"));
  GgufWriter linear = plain;
  linear.Add("llama.rope.scaling.type", "linear");
  linear.Add("llama.rope.scaling.factor", 4.0f);
  EXPECT_LT(Distance(LogitsOf(linear),
                     LogitsOf(plain, {.rope_scaling = RopeScaling::kLinear, .rope_factor = 4})),
            kSame);
  GgufWriter yarn = plain;
  yarn.Add("llama.rope.scaling.type", "yarn");
  yarn.Add("llama.rope.scaling.factor", 4.0f);
  yarn.Add("llama.rope.scaling.original_context_length", std::uint32_t{256});
  const Logits stretched = LogitsOf(yarn);
  EXPECT_LT(
      Distance(stretched, LogitsOf(plain, {.rope_scaling = RopeScaling::kYarn, .rope_factor = 4})),
      kSame);
  EXPECT_GT(Distance(stretched, LogitsOf(linear)), kDifferent);
  EXPECT_LT(Distance(LogitsOf(plain), LogitsOf(yarn, {.rope_scaling = RopeScaling::kNone})), kSame);
}

TEST(RopeScaling, NtkIsAnotherBase) {
  TinyModelOptions options = Small("qwen2");
  const Logits ntk =
      LogitsOf(MakeTinyModel(options), {.rope_scaling = RopeScaling::kNtk, .rope_factor = 2});
  options.rope_base *= std::pow(2.0, 16.0 / 14.0);
  EXPECT_LT(Distance(ntk, LogitsOf(MakeTinyModel(options))),
            1e-5);  // the base is stored in float32
}

TEST(RopeScaling, LongRopeChoosesItsFactorsByTheContext) {
  const GgufWriter plain = MakeTinyModel(Small("llama"));
  GgufWriter writer = plain;
  writer.Add("llama.rope.scaling.type", "longrope");
  writer.Add("llama.rope.scaling.original_context_length", std::uint32_t{128});
  writer.AddTensorF32("rope_factors_short.weight", {8}, std::vector<float>(8, 1.0f));
  writer.AddTensorF32("rope_factors_long.weight", {8}, std::vector<float>(8, 3.0f));
  EXPECT_LT(Distance(LogitsOf(writer, {.context = 128}), LogitsOf(plain)), kSame);
  const Logits linear = LogitsOf(plain, {.rope_scaling = RopeScaling::kLinear, .rope_factor = 3});
  EXPECT_LT(Distance(LogitsOf(writer, {.context = 129}), linear), kSame);
  EXPECT_LT(Distance(LogitsOf(writer), linear), kSame);  // the file's context is 256
}

TEST(RopeScaling, YarnMultiplierAndAttentionFactorScaleTheRotatedPart) {
  GgufWriter writer = MakeTinyModel(Small("mistral3"));
  writer.Add("mistral3.rope.scaling.type", "yarn");
  writer.Add("mistral3.rope.scaling.factor", 4.0f);
  const Logits stretched = LogitsOf(writer);
  // Multiplier 1 cancels the magnitude; the factor brings it back.
  writer.Add("mistral3.rope.scaling.yarn_log_multiplier", 1.0f);
  EXPECT_GT(Distance(stretched, LogitsOf(writer)), kDifferent);
  writer.Add("mistral3.rope.scaling.attn_factor", static_cast<float>(0.1 * std::log(4.0) + 1));
  EXPECT_LT(Distance(stretched, LogitsOf(writer)), 1e-5);
}

TEST(RopeScaling, OnlyTheLeadingDimensionsTurn) {
  TinyModelOptions options = Small("llama");
  const Logits all = LogitsOf(MakeTinyModel(options));
  options.rope_dimensions = 16;
  EXPECT_LT(Distance(all, LogitsOf(MakeTinyModel(options))), kSame);
  options.rope_dimensions = 6;
  EXPECT_GT(Distance(all, LogitsOf(MakeTinyModel(options))), kDifferent);
}

TEST(Windows, PatternIsAPeriodOrAList) {
  TinyModelOptions options = Small("gemma3");
  options.layers = 4;
  options.window = 3;
  GgufWriter period = MakeTinyModel(options);
  GgufWriter list = period;
  GgufWriter other = period;
  period.Add("gemma3.attention.sliding_window_pattern", std::uint32_t{2});
  list.Add("gemma3.attention.sliding_window_pattern", std::vector<bool>{true, false, true, false});
  other.Add("gemma3.attention.sliding_window_pattern", std::vector<bool>{false, true, true, false});
  const Logits logits = LogitsOf(period);
  EXPECT_LT(Distance(logits, LogitsOf(list)), kSame);
  EXPECT_GT(Distance(logits, LogitsOf(other)), kDifferent);
}

TEST(Windows, Gemma3SlidingLayersHaveTheirOwnBaseAndNoScaling) {
  TinyModelOptions options = Small("gemma3");
  options.layers = 5;  // all slide
  options.window = 64;
  options.rope_base = 1e6;
  const GgufWriter writer = MakeTinyModel(options);
  const Logits logits = LogitsOf(writer);
  EXPECT_LT(
      Distance(logits, LogitsOf(writer, {.rope_scaling = RopeScaling::kYarn, .rope_factor = 4})),
      kSame);
  GgufWriter based = writer;
  based.Add("gemma3.rope.freq_base_swa", 1e6f);
  EXPECT_GT(Distance(logits, LogitsOf(based)), kDifferent);
  GgufWriter full = writer;
  full.Remove("gemma3.attention.sliding_window");
  EXPECT_LT(Distance(LogitsOf(based), LogitsOf(full)), kSame);  // 24 tokens fit the window of 64
}

TEST(Windows, AKeyIsSeenByTheNextWindowMinusOneQueries) {
  TinyModelOptions options = Small("gemma2");
  options.layers = 1;
  options.window = 4;
  const GgufWriter writer = MakeTinyModel(options);
  std::vector<std::int32_t> tokens = Tokens(9);
  const Logits before = LogitsOf(writer, tokens);
  tokens[2] = (tokens[2] + 1) % 40;
  const Logits after = LogitsOf(writer, tokens);
  for (std::int64_t t = 0; t < 9; ++t) {
    const double distance = Distance({before.begin() + t * 40, before.begin() + (t + 1) * 40},
                                     {after.begin() + t * 40, after.begin() + (t + 1) * 40});
    const bool sees = t >= 2 && t < 6;
    EXPECT_EQ(distance > kSame, sees) << t;
    EXPECT_EQ(distance == 0, !sees) << t;
  }
}

TEST(Caps, BoundTheLogits) {
  TinyModelOptions options = Small("gemma3");
  options.final_cap = 2;
  for (double logit : LogitsOf(MakeTinyModel(options))) EXPECT_LT(std::abs(logit), 2);
  options.final_cap = 0;
  const Logits free = LogitsOf(MakeTinyModel(options));
  EXPECT_GT(*std::max_element(free.begin(), free.end()), 2);
  options.attention_cap = 0.5;  // of no meaning to gemma3
  EXPECT_LT(Distance(free, LogitsOf(MakeTinyModel(options))), kSame);
}

TEST(Errors, NameWhatIsWrong) {
  const auto message = [](const GgufWriter& writer, std::vector<std::int32_t> tokens) {
    try {
      LogitsOf(writer, tokens);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const GgufWriter good = MakeTinyModel(Small("llama"));
  EXPECT_EQ(message(good, {0, 39}), "no error");
  EXPECT_NE(message(good, {0, 40}).find("token 40"), std::string::npos);
  EXPECT_NE(message(good, {-1}).find("token -1"), std::string::npos);
  EXPECT_NE(message(MakeTinyModel(Small("mamba2")), {0}).find("'mamba2'"), std::string::npos);
  for (const char* name :
       {"blk.1.ffn_up.weight", "llama.block_count", "llama.attention.layer_norm_rms_epsilon"}) {
    GgufWriter bad = good;
    bad.Remove(name);
    EXPECT_NE(message(bad, {0}).find(name), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace foveate::reference
