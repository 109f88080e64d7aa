// `foveate bench attention`: the operator with any mechanisms, beside the machine's limits.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "runtime/attention_bench.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct Flags {
  ModelOptions machine;
  std::vector<std::string> attention = {"full"};
  std::vector<std::string> heads = {"8/8"};
  std::vector<std::int64_t> lengths = {4096};
  std::int64_t queries = 0;
  std::vector<std::int64_t> dims = {64};
  std::vector<std::string> types = {"f32"};
  std::vector<std::string> kv;
  int repetitions = 5;
  bool backward = false;
  bool json = false;
};

ElementType ParseElementType(const std::string& name) {
  for (const ElementType type : {ElementType::kF32, ElementType::kF16, ElementType::kBF16}) {
    if (name == ElementTypeName(type)) return type;
  }
  Throw(ErrorCode::kInvalidArgument, "--dtype: '{}' is none of f32, f16, bf16", name);
}

AttentionBenchOptions BenchOptionsOf(const Flags& flags) {
  AttentionBenchOptions options{.lengths = flags.lengths,
                                .dims = flags.dims,
                                .backward = flags.backward,
                                .repetitions = flags.repetitions};
  options.mechanisms = SpecsOf(flags.attention);
  for (const std::string& heads : flags.heads) options.heads.push_back(ParseHeadCounts(heads));
  for (const std::string& type : flags.types) options.types.push_back(ParseElementType(type));
  if (flags.queries > 0) options.queries = flags.queries;
  for (const std::string& kv : flags.kv) options.kv.push_back(ParseKvTypes(kv));
  return options;
}

struct Summary {
  double least, median, most;
};
Summary SummaryOf(const std::vector<double>& values) {
  return {*std::min_element(values.begin(), values.end()), Median(values),
          *std::max_element(values.begin(), values.end())};
}

OrderedJson RowJson(const AttentionBenchRow& row) {
  const Summary seconds = SummaryOf(row.seconds);
  OrderedJson object = {{"attention", row.mechanism},
                        {"pass", row.backward ? "backward" : "forward"},
                        {"heads", row.heads.name},
                        {"query_heads", row.heads.heads},
                        {"kv_heads", row.heads.kv_heads},
                        {"queries", row.queries},
                        {"keys", row.keys},
                        {"dim", row.dim},
                        {"dtype", row.type},
                        {"kv", row.kv.empty() ? OrderedJson() : OrderedJson(row.kv)},
                        {"pairs", row.pairs},
                        {"tiles", row.tiles},
                        {"dense_tiles", row.dense_tiles},
                        {"kv_bytes", row.bytes},
                        {"median_seconds", seconds.median},
                        {"min_seconds", seconds.least},
                        {"max_seconds", seconds.most},
                        {"seconds", row.seconds},
                        {"schedule_seconds", row.schedule_seconds},
                        {"gflops", row.gflops()},
                        {"gb_per_second", static_cast<double>(row.bytes) / seconds.median * 1e-9},
                        {"error_of_bound", row.error}};
  if (!row.share_of_fma.empty()) object["share_of_fma"] = Median(row.share_of_fma);
  if (!row.share_of_reading.empty()) object["share_of_reading"] = Median(row.share_of_reading);
  if (!row.share_of_selection.empty()) {
    object["share_of_selection"] = Median(row.share_of_selection);
    // Two operations for D numbers each where attention has four.
    object["selection_by_attention_flops"] =
        row.selection_products / 2 / row.pairs / static_cast<double>(row.heads.heads);
  }
  if (!row.over_forward.empty()) object["over_forward"] = Median(row.over_forward);
  if (!row.speedup.empty()) {
    object["speedup_over_dense"] = Median(row.speedup);
    object["work_saved"] = row.dense_tiles / row.tiles;
  }
  return object;
}

std::string NameOf(const AttentionBenchRow& row) {
  return row.backward ? row.mechanism + " backward" : row.mechanism;
}

void PrintTable(const std::vector<AttentionBenchRow>& rows) {
  std::size_t width = 9;
  for (const AttentionBenchRow& row : rows) width = std::max(width, NameOf(row).size());
  width = std::min<std::size_t>(width, 44);
  fmt::print("{:<{}} {:>6} {:>7} {:>7} {:>4} {:>5} {:>10} {:>18} {:>8} {:>9} {:>8} {:>9} {:>8}\n",
             "attention", width, "heads", "queries", "keys", "dim", "type", "median", "spread",
             "GFLOP/s", "limit", "schedule", "vs dense", "work");
  for (const AttentionBenchRow& row : rows) {
    const Summary seconds = SummaryOf(row.seconds);
    const bool reading = !row.share_of_reading.empty();
    const double share = Median(reading ? row.share_of_reading : row.share_of_fma);
    fmt::print("{:<{}} {:>6} {:>7} {:>7} {:>4} {:>5} {:>7.2f} ms {:>18} {:>8.1f} {:>9} {:>8}",
               NameOf(row).substr(0, width), width, row.heads.name, row.queries, row.keys, row.dim,
               row.kv.empty() ? row.type : row.kv, seconds.median * 1e3,
               fmt::format("{:.2f} to {:.2f}", seconds.least * 1e3, seconds.most * 1e3),
               row.gflops(), fmt::format("{:.2f} {}", share, reading ? "read" : "FMA"),
               fmt::format(
                   "{:.2f} %",
                   (Median(row.share_of_selection) + row.schedule_seconds / seconds.median) * 100));
    if (!row.speedup.empty()) {
      fmt::print(" {:>8.2f}x {:>7.2f}x", Median(row.speedup), row.dense_tiles / row.tiles);
    }
    if (row.backward) fmt::print(" {:>8.2f}x forward", Median(row.over_forward));
    fmt::print("\n");
  }
}

int BenchAttentionVerb(const Flags& flags) {
  AttentionBenchOptions options = BenchOptionsOf(flags);
  const std::unique_ptr<Context> context = MakeContext(flags.machine);
  ProgressBar bar("measuring");
  options.on_step = [&](const std::string& what) {
    ThrowIfInterrupted();
    bar.Update(-1, what);
  };
  const std::vector<AttentionBenchRow> rows = BenchAttention(*context, options);
  bar.Clear();
  if (flags.json) {
    OrderedJson list = OrderedJson::array();
    for (const AttentionBenchRow& row : rows) list.push_back(RowJson(row));
    PrintJson({{"cpu", CpuName()},
               {"isa", IsaName(context->isa())},
               {"threads", context->pool().size()},
               {"rows", list}});
    return kExitOk;
  }
  fmt::print("{}, {}, {} threads; every row agrees with a float64 reference\n\n", CpuName(),
             IsaName(context->isa()), context->pool().size());
  PrintTable(rows);
  return kExitOk;
}

constexpr const char* kFooter =
    R"(GFLOP/s counts 4 D operations for each pair that is attended, 10 D backward. The limit is the
share of the multiply-add peak, for 16 queries and fewer the share of a plain sum over the same
bytes; both are measured before each repetition. `schedule` is the time that listing the tiles
takes, once for all heads and calls, as a share of one call's. `vs dense` compares with the first
mechanism that visits every tile, in the same round; `work` is what the schedule visits fewer tiles
of 64 x 64 than that.

Examples:
  foveate bench attention --attention full,causal,window:left=1023,right=0 --length 16384
  foveate bench attention --attention full,causal --dim 64,128 --backward
  foveate bench attention --heads mha,gqa,mqa,sqa,ssqa,xsqa --length 4096
  foveate bench attention --queries 1 --heads 8/8,32/8 --length 262144 --kv f16,q8_0)";

}  // namespace

void AddBenchAttentionVerb(CLI::App& bench, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = bench.add_subcommand("attention", "The attention operator, any mechanisms");
  verb->footer(kFooter);
  verb->add_option("--attention", flags->attention,
                   "mechanisms to compare, joined by commas (see `foveate mechanisms`)")
      ->capture_default_str();
  const auto sizes = CLI::Range(std::int64_t{1}, std::int64_t{1} << 24);
  verb->add_option("--length", flags->lengths, "keys, a list")
      ->delimiter(',')
      ->check(sizes)
      ->capture_default_str();
  verb->add_option("--queries", flags->queries, "query rows; without it as many as keys")
      ->check(sizes);
  verb->add_option("--heads", flags->heads,
                   "query/KV heads, a list: 8/2, or mha, gqa, mqa, sqa, ssqa, xsqa of 16 heads")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--dim", flags->dims, "head dimension, a list")
      ->delimiter(',')
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  verb->add_option("--dtype", flags->types, "f32, f16 or bf16, a list")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--kv", flags->kv,
                   "read keys and values from KV caches of these types, a list: f32, f16, bf16, "
                   "q8_0, q4_0, or keys/values")
      ->delimiter(',');
  verb->add_option("--reps", flags->repetitions, "measured repetitions (one more is dropped)")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_flag("--backward", flags->backward, "the backward pass as well, beside the forward's");
  AddMachineOptions(*verb, flags->machine);
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return BenchAttentionVerb(*flags); }; });
}

}  // namespace foveate::cli
