// Models with other attention than their own: what each layer sees, what its cache keeps, and that
// neither chunks nor forgetting show in the logits.
#include "model/layer_attention.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "foveate/error.h"
#include "model/decoder.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

std::shared_ptr<const LanguageModel> TinyModel(Context& context, const TinyModelOptions& options) {
  const std::string path = ::testing::TempDir() + "layer_attention_" + std::to_string(getpid());
  MakeTinyModel(options).Write(path);
  auto model = LoadLanguageModel(context, path);
  unlink(path.c_str());
  return model;
}

std::vector<TokenId> Tokens(std::int64_t count) {
  std::vector<TokenId> tokens(count);
  for (std::int64_t i = 0; i < count; ++i) tokens[i] = static_cast<TokenId>((i * 37 + 5) % 400);
  return tokens;
}

DecoderOptions ExactOptions(const std::string& spec, std::int64_t chunk) {
  DecoderOptions options{.chunk = chunk,
                         .key_type = KvType::kF32,
                         .value_type = KvType::kF32,
                         .activations = ActivationMode::kF32};
  if (!spec.empty()) options.attention = ParseAttentionSpec(spec);
  return options;
}

// Logits [n, V] of all positions, in chunks.
std::vector<float> Logits(Context& context, const std::shared_ptr<const LanguageModel>& model,
                          const std::string& spec, std::span<const TokenId> tokens,
                          std::int64_t chunk) {
  Decoder decoder(context, model, ExactOptions(spec, chunk));
  const std::int64_t vocabulary = model->config.vocabulary;
  std::vector<float> logits(tokens.size() * vocabulary);
  for (std::size_t start = 0; start < tokens.size(); start += chunk) {
    const std::size_t size = std::min<std::size_t>(chunk, tokens.size() - start);
    decoder.Evaluate(tokens.subspan(start, size), start + size < tokens.size());
    decoder.Logits(
        0, MakeView(&logits[start * vocabulary], static_cast<std::int64_t>(size), vocabulary));
  }
  return logits;
}

double MostApart(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double apart = std::abs(double{a[i]} - b[i]);
    most = std::isnan(apart) ? INFINITY : std::max(most, apart);
  }
  return most;
}

TEST(LayerAttentionTest, FullAndCausalAreTheModelsOwn) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {});
  const std::vector<TokenId> tokens = Tokens(200);
  const std::vector<float> own = Logits(context, model, "", tokens, 64);
  for (const char* spec : {"full", "causal", "window:left=500,right=3", "0-=causal",
                           "heads(0-1=full;2-=causal)", "sink_window:sink=4,left=400"}) {
    EXPECT_EQ(Logits(context, model, spec, tokens, 64), own) << spec;
  }
}

// A window given by the spec is the window of a file that has one.
TEST(LayerAttentionTest, WindowIsASlidingWindowOfTheFile) {
  Context context({.threads = 2});
  const TinyModelOptions plain{.architecture = "gemma2"};
  TinyModelOptions windowed = plain;
  windowed.window = 40;
  const auto model = TinyModel(context, plain);
  const auto expected = TinyModel(context, windowed);
  std::string layers;  // as gemma2 has it: every other layer, from the first on
  for (std::size_t i = 0; i < expected->config.layers.size(); ++i) {
    if (expected->config.layers[i].window == 0) continue;
    layers += (layers.empty() ? "" : ";") + std::to_string(i) + "=window:size=40";
  }
  ASSERT_FALSE(layers.empty());
  const std::vector<TokenId> tokens = Tokens(150);
  EXPECT_LT(MostApart(Logits(context, model, layers, tokens, 32),
                      Logits(context, expected, "", tokens, 32)),
            1e-4);
}

TEST(LayerAttentionTest, ChunksDoNotShow) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {});
  for (const char* spec :
       {"window:left=31,right=0", "sink_window:sink=3,left=28",
        "sink_window:sink=70,left=28,positions=text", "power:block=8,window_blocks=2",
        "window:left=9,right=0 | dilated:dilation=5,count=9",
        "stride_slash:window=7,stride=9,sink=2",
        "heads(0=full;1-2=window:size=20;3-=sink_window:sink=2,left=9)",
        "0=window:size=32;1=causal"}) {
    for (const std::int64_t length : {31, 32, 33, 96, 230}) {
      const std::vector<TokenId> tokens = Tokens(length);
      const std::vector<float> whole = Logits(context, model, spec, tokens, 256);
      for (const std::int64_t chunk : {1, 7, 64}) {
        EXPECT_LT(MostApart(Logits(context, model, spec, tokens, chunk), whole), 1e-4)
            << spec << " length " << length << " chunk " << chunk;
      }
    }
  }
}

// With one layer keys and values depend on their own token only, so what is kept can be replayed as
// a text of its own: positions in the cache are the positions of that text.
TEST(LayerAttentionTest, StreamEqualsTheTextThatIsKept) {
  Context context({.threads = 2});
  TinyModelOptions options;
  options.layers = 1;
  const auto model = TinyModel(context, options);
  const std::int64_t vocabulary = model->config.vocabulary;
  const std::vector<TokenId> tokens = Tokens(2500);  // ten times the model's context
  const std::vector<float> stream =
      Logits(context, model, "sink_window:sink=4,left=99", tokens, 50);
  for (const std::int64_t i : {50, 99, 100, 103, 104, 163, 164, 700, 2499}) {
    std::vector<TokenId> kept;
    for (std::int64_t j = 0; j <= i; ++j) {
      if (j < 4 || i - j <= 99) kept.push_back(tokens[j]);
    }
    const std::vector<float> replayed = Logits(context, model, "", kept, 50);
    EXPECT_LT(MostApart(std::span(stream).subspan(i * vocabulary, vocabulary),
                        std::span(replayed).last(vocabulary)),
              1e-4)
        << i;
  }
  // By their place in the text, sinks are ever further away.
  const std::vector<float> by_text =
      Logits(context, model, "sink_window:sink=4,left=99,positions=text", tokens, 50);
  EXPECT_GT(MostApart(by_text, stream), 1e-2);
}

TEST(LayerAttentionTest, StreamsTakeConstantMemory) {
  Context context({.threads = 1});
  const auto model = TinyModel(context, {});
  const DecoderOptions stream = ExactOptions("sink_window:sink=4,left=59", 16);
  Decoder decoder(context, model, stream);
  EXPECT_EQ(decoder.capacity(), kEndlessContext);
  // 4 sinks take a page of 64, the ring holds 59 + 16 positions that begin anywhere.
  EXPECT_EQ(decoder.kv_bytes(), 2 * KvCache::BytesFor({.kv_heads = 2,
                                                       .key_dim = 16,
                                                       .value_dim = 16,
                                                       .capacity = 256,
                                                       .key_type = KvType::kF32,
                                                       .value_type = KvType::kF32}));
  EXPECT_EQ(Decoder(context, model, ExactOptions("", 16)).capacity(), 256);
  EXPECT_EQ(Decoder(context, model, ExactOptions("0=window:size=9", 16)).capacity(), 256);
}

void ExpectRefused(const TinyModelOptions& options, const std::string& spec,
                   const std::string& part) {
  Context context({.threads = 1});
  const auto model = TinyModel(context, options);
  try {
    PlanAttention(model->config, ParseAttentionSpec(spec));
    ADD_FAILURE() << spec;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(LayerAttentionTest, RefusesWhatDoesNotFit) {
  ExpectRefused({}, "5=causal", "layer 5, but the model has 2");
  ExpectRefused({}, "heads(0-1=full)", "query head 2");
  ExpectRefused({}, "tree:context=3,parents=-1/0", "tree cannot be used");
  ExpectRefused({}, "causal & tree:context=3,parents=-1/0", "tree cannot be used");
}

// A model with windows of its own keeps them, unless layers are named.
TEST(LayerAttentionTest, SpecTakesTheGlobalLayers) {
  Context context({.threads = 1});
  TinyModelOptions options{.architecture = "gemma2"};
  options.window = 40;
  const auto model = TinyModel(context, options);
  const auto plans = PlanAttention(model->config, ParseAttentionSpec("sink_window:sink=1,left=7"));
  const auto named = PlanAttention(model->config, ParseAttentionSpec("0-1=window:size=8"));
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const std::int64_t window = model->config.layers[i].window;
    ASSERT_TRUE(plans[i].kept);
    EXPECT_EQ(plans[i].kept->last, window > 0 ? window - 1 : 7);
    EXPECT_EQ(named[i].kept->last, 7);
  }
  EXPECT_TRUE(IsStreaming(plans));
}

// A cache in files holds what one in memory holds, also where keys are chosen from it.
TEST(LayerAttentionTest, ACacheOnDiskChangesNothing) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {});
  const std::vector<TokenId> tokens = Tokens(150);
  for (const char* spec :
       {"full", "sink_window:sink=4,left=20", "block:block=8,topk=3,local=4,dense_layers=0"}) {
    DecoderOptions options = ExactOptions(spec, 64);
    const auto last_logits = [&] {
      Decoder decoder(context, model, options);
      decoder.Evaluate(std::span(tokens).first(64), true);
      decoder.Evaluate(std::span(tokens).subspan(64, 64));
      for (std::size_t i = 128; i < tokens.size(); ++i) {
        decoder.Evaluate(std::span(tokens).subspan(i, 1));
      }
      std::vector<float> logits(model->config.vocabulary);
      decoder.Logits(0, MakeView(logits.data(), std::int64_t{1}, model->config.vocabulary));
      return logits;
    };
    const std::vector<float> in_memory = last_logits();
    options.kv_folder = ::testing::TempDir();
    EXPECT_EQ(last_logits(), in_memory) << spec;
  }
}

// --- mechanisms that choose keys by content ---

TEST(SelectedAttention, ABudgetOfAllKeysIsDense) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {});
  const std::vector<TokenId> tokens = Tokens(150);
  const std::vector<float> dense = Logits(context, model, "full", tokens, 150);
  for (const std::string spec :
       {"hip:mask_k=256,block_q=8,dense_layers=0", "dhsa:budget=150,block_q=8,instr=5",
        "topk:topk=150,dense_layers=0", "block:topk=20,dense_layers=0"}) {
    for (const std::int64_t chunk : {150, 64, 1}) {
      EXPECT_LT(MostApart(Logits(context, model, spec, tokens, chunk), dense), 1e-4)
          << spec << " chunk " << chunk;
    }
  }
}

TEST(SelectedAttention, HipDoesNotDependOnChunksOfWholeBlocks) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {});
  const std::vector<TokenId> tokens = Tokens(200);
  const std::string spec = "hip:mask_k=32,block_q=8,block_k=4,sink=4,window=16,dense_layers=0";
  const std::vector<float> whole = Logits(context, model, spec, tokens, 200);
  EXPECT_GT(MostApart(whole, Logits(context, model, "full", tokens, 200)), 1e-3);
  for (const std::int64_t chunk : {8, 64}) {
    EXPECT_LT(MostApart(Logits(context, model, spec, tokens, chunk), whole), 1e-5) << chunk;
  }
}

TEST(SelectedAttention, DenseLayersStayAsTheyAre) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {.layers = 2});
  const std::vector<TokenId> tokens = Tokens(120);
  const auto logits = [&](const std::string& spec) {
    return Logits(context, model, spec, tokens, 120);
  };
  const std::string hip = "hip:mask_k=16,block_q=8,sink=0,window=8,dense_layers=";
  EXPECT_EQ(logits(hip + "2"), logits("full"));
  EXPECT_EQ(logits(hip + "1"), logits("0=full;1=" + hip + "0"));
  EXPECT_GT(MostApart(logits(hip + "1"), logits(hip + "0")), 1e-3);
}

// What is carried from token to token is that of the text, also after going back (by whole blocks).
TEST(SelectedAttention, DecodesTheSameAfterGoingBack) {
  Context context({.threads = 2});
  const auto model = TinyModel(context, {});
  const std::vector<TokenId> tokens = Tokens(140);
  for (const std::string spec :
       {"hip:mask_k=16,block_k=4,sink=4,window=8,refresh=1,dense_layers=0",
        "dhsa:budget=40,local=8,global=4,refresh=1", "topk:topk=20,local=4,dense_layers=0",
        "block:block=8,topk=3,local=4,dense_layers=0"}) {
    SCOPED_TRACE(spec);
    Decoder decoder(context, model, ExactOptions(spec, 140));
    const auto decode = [&] {
      std::vector<float> logits(20 * model->config.vocabulary);
      for (std::int64_t i = 0; i < 20; ++i) {
        decoder.Evaluate(std::span(tokens).subspan(120 + i, 1));
        decoder.Logits(
            0, MakeView(&logits[i * model->config.vocabulary], 1, model->config.vocabulary));
      }
      return logits;
    };
    decoder.Evaluate(std::span(tokens).first(120));
    const std::vector<float> once = decode();
    ASSERT_TRUE(decoder.Rewind(64));
    decoder.Evaluate(std::span(tokens).subspan(64, 56));
    EXPECT_EQ(decode(), once);
  }
}

}  // namespace
}  // namespace foveate
