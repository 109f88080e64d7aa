#include "runtime/kinetics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "format/safetensors.h"

namespace foveate {
namespace {

using nlohmann::json;

KineticsModel ModelOf(const json& cost) {
  const double dim = cost["head_dim"];
  return {.name = cost["model"],
          .parameters = cost["params"],
          .layers = std::vector<KineticsLayer>(
              cost["layers"].get<std::size_t>(),
              {cost["q_heads"].get<double>() * dim, cost["kv_heads"].get<double>() * dim})};
}

KineticsAttention AttentionOf(const json& cost) {
  using Kind = KineticsAttention::Kind;
  const std::int64_t given = cost["budget_or_local"];
  if (cost["kind"] == "topk") return {.kind = Kind::kTopKeys, .chosen = given, .free_choice = true};
  if (cost["kind"] == "dense") return {};
  const std::int64_t block = cost["block"];
  return {.kind = Kind::kTopBlocks,
          .always = given,
          .chosen = block * cost["topk_blocks"].get<std::int64_t>(),
          .block = block};
}

// What the authors' code prints, and sums over tokens.
TEST(Kinetics, CostsAgreeWithTheGolden) {
  const SafetensorsFile file = SafetensorsFile::Open(FOVEATE_TEST_DATA "/kinetics.safetensors");
  const json costs = json::parse(file.metadata().at("costs"));
  EXPECT_EQ(costs.size(), 15u);
  for (const json& cost : costs) {
    SCOPED_TRACE(cost.dump());
    const KineticsModel model = ModelOf(cost);
    const KineticsRun run{cost["prompt"], cost["gen"], cost["trials"]};
    const KineticsAttention attention = AttentionOf(cost);
    const double intensity = cost["I"];
    const auto expect = [&](const KineticsCost& made, const std::string& prefix) {
      const double compute = cost[prefix + "compute_TeFLOP"],
                   memory = cost[prefix + "memory_TeFLOP"];
      EXPECT_NEAR(made.compute * 1e-12, compute, compute * 1e-9);
      EXPECT_NEAR(made.bytes() * intensity * 1e-12, memory, memory * 1e-9);
      EXPECT_NEAR(made.equivalent(intensity) * 1e-12, compute + memory, (compute + memory) * 1e-9);
    };
    expect(PublishedCost(model, run, attention), "");
    expect(TotalCost(model, run, attention), "exact_");
  }
}

TEST(Kinetics, ABudgetBeyondTheContextCostsWhatAllKeysCost) {
  const KineticsModel model = PublishedKineticsModel("qwen3-0.6b");
  const KineticsRun run{100, 50, 1};
  const KineticsCost all = TotalCost(model, run, {});
  const KineticsCost top = TotalCost(
      model, run, {.kind = KineticsAttention::Kind::kTopKeys, .chosen = 1000, .free_choice = true});
  EXPECT_DOUBLE_EQ(all.compute, top.compute);
  EXPECT_DOUBLE_EQ(all.kv_bytes, top.kv_bytes);
}

TEST(Kinetics, WindowsBoundWhatALayerReads) {
  KineticsModel model{.parameters = 1, .layers = {{8, 4, 10}, {8, 4, 0}}, .weight_bytes = 100};
  const KineticsCost cost = StepCost(model, {90, 20, 2}, {}, 6);
  EXPECT_DOUBLE_EQ(cost.attention, 2 * 4 * 8 * (10 + 96));
  // 4 of the prompt and 2 * 6 of the trials in the window; 90 and 2 * 6 without.
  EXPECT_DOUBLE_EQ(cost.kv_bytes, 2 * 2 * 4 * (4 + 12 + 90 + 12));
  EXPECT_DOUBLE_EQ(cost.weight_bytes, 100);
  EXPECT_DOUBLE_EQ(PeakKvBytes(model, {90, 20, 2}), 2 * 2 * 4 * (2 * 10 + 90 + 2 * 20));
  EXPECT_DOUBLE_EQ(BreakEvenContext(model), 100 / (2 * 2 * 8.0));
}

// Each layer by itself, with the attention that it has.
TEST(Kinetics, FirstLayersMayStayDense) {
  using Kind = KineticsAttention::Kind;
  const KineticsModel model{.parameters = 3,
                            .layers = {{8, 4}, {12, 6, 10}, {6, 2}, {8, 4}, {10, 5}},
                            .weight_bytes = 70,
                            .kv_element_bytes = 1.5};
  for (const KineticsAttention& sparse :
       {KineticsAttention{.kind = Kind::kTopKeys, .always = 3, .chosen = 4},
        KineticsAttention{.kind = Kind::kTopBlocks, .always = 2, .chosen = 12, .block = 4}}) {
    for (const std::int64_t dense : {0, 1, 3, 5, 9}) {
      for (const std::int64_t step : {0, 5, 40}) {
        const KineticsRun run{17, 60, 3};
        KineticsCost expected{.compute = 3 * 2 * 3.0, .weight_bytes = 70};
        for (std::int64_t layer = 0; layer < std::ssize(model.layers); ++layer) {
          KineticsModel alone{.layers = {model.layers[layer]}, .kv_element_bytes = 1.5};
          expected += StepCost(alone, run, layer < dense ? KineticsAttention{} : sparse, step);
        }
        KineticsAttention attention = sparse;
        attention.dense_layers = dense;
        const KineticsCost made = StepCost(model, run, attention, step);
        EXPECT_DOUBLE_EQ(made.compute, expected.compute);
        EXPECT_DOUBLE_EQ(made.attention, expected.attention);
        EXPECT_DOUBLE_EQ(made.kv_bytes, expected.kv_bytes);
        EXPECT_DOUBLE_EQ(made.weight_bytes, expected.weight_bytes);
      }
    }
  }
}

TEST(Kinetics, SpecsSayWhatIsAttended) {
  const auto of = [](const char* spec) { return KineticsAttentionOf(ParseAttentionSpec(spec)); };
  EXPECT_EQ(of("causal").kind, KineticsAttention::Kind::kFull);
  const KineticsAttention blocks = of("block:block=8,topk=3,local=5,sink=2,dense_layers=4");
  EXPECT_EQ(blocks.kind, KineticsAttention::Kind::kTopBlocks);
  EXPECT_EQ(blocks.block, 8);
  EXPECT_EQ(blocks.budget(), 5 + 2 + 24);
  EXPECT_EQ(blocks.dense_layers, 4);
  EXPECT_EQ(of("topk").dense_layers, 1);
  EXPECT_EQ(AsPublished(of("topk")).dense_layers, 0);
  EXPECT_TRUE(AsPublished(of("topk")).free_choice);
  for (const char* bad : {"window:size=4", "0-2=topk", "0-2=full;3-=topk", "heads(0=full;1-=topk)",
                          "full | causal"}) {
    EXPECT_THROW(of(bad), Error) << bad;
  }
}

TEST(Kinetics, RooflineIsTheLargerOfBothTimes) {
  const KineticsModel model = PublishedKineticsModel("qwen3-0.6b");
  const KineticsRun run{0, 10, 1};
  const KineticsCost cost = TotalCost(model, run, {});
  EXPECT_NEAR(RooflineSeconds(model, run, {}, {"", 1e9, 1e20}), cost.compute / 1e9, 1e-6);
  EXPECT_NEAR(RooflineSeconds(model, run, {}, {"", 1e30, 1e6}), cost.bytes() / 1e6, 1e-6);
}

TEST(Kinetics, RefusesUnknownDevicesAndModels) {
  EXPECT_DOUBLE_EQ(ParseKineticsDevice("b200").intensity(), 562.5);
  EXPECT_DOUBLE_EQ(ParseKineticsDevice("100,25").intensity(), 4);
  for (const char* bad : {"", "b100", "100", "100,", "100,0", "-1,5", "100,25x", "inf,1"}) {
    EXPECT_THROW(ParseKineticsDevice(bad), Error) << bad;
  }
  EXPECT_THROW(PublishedKineticsModel("qwen"), Error);
}

}  // namespace
}  // namespace foveate
