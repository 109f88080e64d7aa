// `foveate bench`, and `foveate bench llm`: tokens per second, beside what the machine could do at
// most.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "kernels/machine_limits.h"
#include "runtime/llm_bench.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct BenchOptions {
  ModelOptions model;
  LlmBenchOptions bench;
  std::string peer;
  bool no_limits = false;
  bool json = false;
};

// Rows of another engine, in the form that --json prints; nothing where there is no such file.
OrderedJson PeerRows(const std::string& path) {
  if (path.empty()) return OrderedJson::array();
  std::string text;
  try {
    text = ReadTextFile(path);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return OrderedJson::array();
  }
  OrderedJson rows = OrderedJson::parse(text, nullptr, false);
  if (rows.is_object() && rows.contains("rows")) rows = rows["rows"];
  if (!rows.is_array()) Throw(ErrorCode::kCorruptFile, "{}: expected a JSON list of rows", path);
  return rows;
}

// The peer's tokens per second for the same test; 0 when it has none.
double PeerSpeed(const OrderedJson& peer, const LlmBenchRow& row) {
  for (const OrderedJson& other : peer) {
    if (other.is_object() && other.value("test", "") == row.test &&
        other.value("tokens", std::int64_t{-1}) == row.tokens &&
        other.value("depth", std::int64_t{-1}) == row.depth) {
      return other.value("tokens_per_second", 0.0);
    }
  }
  return 0;
}

// The share of the limit that bounds the row: 8-bit products for prefill, reading for decode.
double ShareOfLimit(const LlmBenchRow& row, const MachineLimits& limits) {
  if (row.test == "prefill") {
    return row.tokens_per_second() * row.macs_per_token * 1e-9 / limits.int8_gmacs;
  }
  return row.tokens_per_second() * row.bytes_per_token * 1e-9 / limits.read_gb_per_second;
}

OrderedJson RowJson(const LlmBenchRow& row) {
  return {{"engine", "foveate"},
          {"test", row.test},
          {"tokens", row.tokens},
          {"depth", row.depth},
          {"tokens_per_second", row.tokens_per_second()},
          {"median_seconds", row.median_seconds()},
          {"spread", row.spread()},
          {"seconds", row.seconds},
          {"macs_per_token", row.macs_per_token},
          {"bytes_per_token", row.bytes_per_token}};
}

void PrintRows(const std::vector<LlmBenchRow>& rows, const MachineLimits* limits,
               const BenchOptions& options) {
  const OrderedJson peer = PeerRows(options.peer);
  fmt::print("{:<8} {:>7} {:>7} {:>12} {:>8}", "test", "tokens", "depth", "tokens/s", "spread");
  if (limits != nullptr) fmt::print(" {:>22}", "share of limit");
  if (!options.peer.empty()) fmt::print(" {:>14} {:>7}", "peer", "ratio");
  fmt::print("\n");
  for (const LlmBenchRow& row : rows) {
    fmt::print("{:<8} {:>7} {:>7} {:>12.1f} {:>7.1f}%", row.test, row.tokens, row.depth,
               row.tokens_per_second(), row.spread() * 100);
    if (limits != nullptr) {
      fmt::print(" {:>10.0f}% of {:<7}", ShareOfLimit(row, *limits) * 100,
                 row.test == "prefill" ? "int8" : "reading");
    }
    if (!options.peer.empty()) {
      const double speed = PeerSpeed(peer, row);
      if (speed > 0) {
        fmt::print(" {:>14.1f} {:>6.2f}x", speed, row.tokens_per_second() / speed);
      } else {
        fmt::print(" {:>14}", peer.empty() ? "not installed" : "not measured");
      }
    }
    fmt::print("\n");
  }
}

void PrintBenchJson(const std::vector<LlmBenchRow>& rows, const MachineLimits* limits,
                    const BenchOptions& options, Context& context) {
  OrderedJson list = OrderedJson::array();
  for (const LlmBenchRow& row : rows) {
    OrderedJson object = RowJson(row);
    if (limits != nullptr) object["share_of_limit"] = ShareOfLimit(row, *limits);
    list.push_back(object);
  }
  for (const OrderedJson& row : PeerRows(options.peer)) list.push_back(row);
  OrderedJson object = {{"model", options.model.model},
                        {"cpu", CpuName()},
                        {"isa", IsaName(context.isa())},
                        {"threads", context.pool().size()},
                        {"activations", options.model.activations},
                        {"kv", options.model.kv},
                        {"rows", list}};
  if (limits != nullptr) {
    object["limits"] = {{"fma_gflops", limits->fma_gflops},
                        {"int8_gmacs", limits->int8_gmacs},
                        {"read_gb_per_second", limits->read_gb_per_second}};
  }
  PrintJson(object);
}

int BenchLanguageModel(BenchOptions options) {
  if (options.model.context == 0) {  // what the tests need, not the model's whole context
    const auto largest = [](const std::vector<std::int64_t>& values) {
      return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
    };
    options.model.context = largest(options.bench.depths) +
                            std::max({largest(options.bench.prompts),
                                      largest(options.bench.generations), std::int64_t{1}});
  }
  const OpenedModel opened = OpenModel(options.model);
  if (opened.context->pool().size() > DefaultThreads()) {
    fmt::print(stderr, "warning: {} threads on {} cores\n", opened.context->pool().size(),
               DefaultThreads());
  }
  Decoder decoder(*opened.context, opened.model, opened.decoder);
  ProgressBar bar("measuring");
  options.bench.on_step = [&](const std::string& what) {
    ThrowIfInterrupted();
    bar.Update(-1, what);
  };
  MachineLimits limits;
  if (!options.no_limits) limits = MeasureMachineLimits(*opened.context);
  const std::vector<LlmBenchRow> rows = BenchLlm(decoder, options.bench);
  bar.Clear();
  const MachineLimits* shown = options.no_limits ? nullptr : &limits;
  if (options.json) {
    PrintBenchJson(rows, shown, options, *opened.context);
    return kExitOk;
  }
  fmt::print("{}, {}, {} threads, activations {}, KV cache {}\n", CpuName(),
             IsaName(opened.context->isa()), opened.context->pool().size(),
             options.model.activations, options.model.kv);
  if (shown != nullptr) {
    fmt::print("limits: {:.0f} GFLOP/s f32, {:.0f} GMAC/s int8, {:.1f} GB/s reading\n\n",
               limits.fma_gflops, limits.int8_gmacs, limits.read_gb_per_second);
  }
  PrintRows(rows, shown, options);
  return kExitOk;
}

}  // namespace

void AddBenchVerb(CLI::App& app, Work& work) {
  CLI::App* verb = app.add_subcommand("bench", "Measure speed on this machine");
  verb->require_subcommand(1);
  AddBenchAttentionVerb(*verb, work);
  AddBenchCompareVerb(*verb, work);
  auto options = std::make_shared<BenchOptions>();
  CLI::App* llm = verb->add_subcommand("llm", "Tokens per second of a language model");
  AddModelArgument(*llm, options->model);
  AddDecoderOptions(*llm, options->model);
  const auto sizes = CLI::Range(std::int64_t{0}, std::int64_t{1} << 24);
  llm->add_option("--prompt", options->bench.prompts, "tokens to read at once, a list")
      ->delimiter(',')
      ->check(sizes)
      ->capture_default_str();
  llm->add_option("--gen", options->bench.generations, "tokens to generate, a list")
      ->delimiter(',')
      ->check(sizes)
      ->capture_default_str();
  llm->add_option("--depth", options->bench.depths, "tokens already in the cache, a list")
      ->delimiter(',')
      ->check(sizes)
      ->capture_default_str();
  llm->add_option("--reps", options->bench.repetitions,
                  "measured repetitions (one more is dropped)")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  llm->add_option("--peer", options->peer,
                  "JSON rows of another engine to print beside (see bench/)");
  llm->add_flag("--no-limits", options->no_limits, "do not measure the machine's own limits");
  llm->add_flag("--json", options->json, "print one JSON object");
  llm->callback([options, &work] {
    work = [options] {
      // 0 tokens: leave the test out.
      std::erase(options->bench.prompts, 0);
      std::erase(options->bench.generations, 0);
      return BenchLanguageModel(*options);
    };
  });
}

}  // namespace foveate::cli
