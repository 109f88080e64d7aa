// Schedules of long calls are built from runs, never from elements.
#include <gtest/gtest.h>

#include "attention/schedule.h"
#include "mechanisms/registry.h"
#include "mechanisms/spec.h"
#include "tests/support/build_kind.h"
#include "tests/support/speed.h"

namespace foveate {
namespace {

constexpr std::int64_t kLength = 131072;

constexpr double kPatience = kFullSpeed ? 1 : 20;

std::string Repeated(int count, const std::string& separator, auto item) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i > 0 ? separator : "") + item(i);
  return text;
}

std::string Number(std::int64_t number) { return std::to_string(number); }

// A case at full length for every mechanism.
std::string LongSpec(std::string_view name) {
  const std::string ends = Repeated(17, "/", [](int d) { return Number(kLength / 16 * d); });
  const std::string tiles = Repeated(2048, "/", [](int t) {
    return Number(t) + "x" + Number(t) + "/" + Number(t) + "x" + Number(t / 2);
  });
  if (name == "window") return "window:left=1023,right=0";
  if (name == "sink_window") return "sink_window:sink=4,left=1023";
  if (name == "dilated") return "dilated:dilation=64,count=1024";
  if (name == "stride_slash") return "stride_slash:window=256,stride=512,sink=4";
  if (name == "document") return "document:cu=" + ends;
  if (name == "document_causal") return "document_causal:cu=" + ends;
  if (name == "document_window") return "document_window:left=1023,cu=" + ends;
  if (name == "prefix_lm") return "prefix_lm:prefix=4096";
  if (name == "prefix_lm_document") {
    return "prefix_lm_document:cu=" + ends +
           ",prefixes=" + Repeated(16, "/", [](int) { return "512"; });
  }
  if (name == "share_question") return "share_question:cu=" + ends;
  if (name == "causal_blockwise") return "causal_blockwise:cu=" + ends;
  if (name == "global_window") return "global_window:left=512,global=1024";
  if (name == "block_causal") return "block_causal:block=2048";
  if (name == "block_causal_document") return "block_causal_document:block=2048,cu=" + ends;
  if (name == "block_sparse") return "block_sparse:bq=64,bk=64,tiles=" + tiles;
  if (name == "var_block_sparse") {
    const std::string edges = Repeated(2049, "/", [](int t) { return Number(64L * t); });
    return "var_block_sparse:q_edges=" + edges + ",k_edges=" + edges + ",tiles=" + tiles;
  }
  if (name == "tree") {
    return "tree:context=0,parents=" +
           Repeated(kLength, "/", [](int node) { return Number(node % 64 == 0 ? -1 : node - 1); });
  }
  if (name == "column_ranges") {
    return "column_ranges:causal=1,masked_rows=" + Repeated(kLength, "/", [](int column) {
             return Number((column / 8192 + 1) * 8192L) + "x131072";
           });
  }
  if (name == "slices") {
    return "slices:slices=" + Repeated(2048, "/", [](int s) {
             return Number(64L * s) + "x" + Number(64L * s + 64) + "x0x" + Number(64L * s + 64) +
                    "xcausal";
           });
  }
  if (name == "neighborhood") return "neighborhood:shape=32x64x64,window=12x24x24,stride=4x8x8";
  return std::string(name);  // full, causal, power and what needs no parameters
}

TEST(ScheduleSpeed, EveryFamilyAt131072Positions) {
  for (const Mechanism& mechanism : Mechanisms()) {
    if (mechanism.pattern == nullptr) continue;
    const PatternPtr pattern = ParseAttentionSpec(LongSpec(mechanism.name)).At(0, 0).pattern;
    Schedule schedule;
    const double seconds =
        testing::BestCpuSeconds([&] { schedule = Schedule(pattern, {kLength, kLength}); });
    RecordProperty(std::string(mechanism.name), std::to_string(seconds));
    EXPECT_LT(seconds, 0.050 * kPatience) << mechanism.name;
    EXPECT_LT(schedule.bytes(), 100'000'000) << mechanism.name;
  }
}

TEST(ScheduleSpeed, AWindowOfAMillionPositions) {
  const PatternPtr pattern = ParseAttentionSpec("window:size=1024").At(0, 0).pattern;
  for (const std::int64_t tile_rows : {1, 64}) {
    Schedule schedule;
    const double seconds = testing::CpuSeconds(
        [&] { schedule = Schedule(pattern, {1'000'000, 1'000'000}, tile_rows); });
    EXPECT_LT(seconds, 2 * kPatience) << tile_rows;
    EXPECT_LT(schedule.bytes(), 200'000'000) << tile_rows;
  }
}

}  // namespace
}  // namespace foveate
