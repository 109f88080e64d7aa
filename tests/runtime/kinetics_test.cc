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
