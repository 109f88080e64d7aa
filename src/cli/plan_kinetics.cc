// `foveate plan kinetics`: what generating text costs with different attention, and what pays.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/plan_frontier.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "kernels/machine_limits.h"
#include "mechanisms/spec.h"
#include "runtime/kinetics.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::int64_t kMostTrials = 1'000'000;

struct Flags {
  ModelOptions machine;
  std::vector<std::string> models;
  std::vector<std::int64_t> prompts = {512}, generated = {4096}, trials = {1};
  std::vector<std::string> attention = {"full,block,topk"};
  std::string device = "measured";
  double budget = 0;
  std::string accuracy, cost = "eflop", chart;
  bool published = false, explain = false, json = false;
};

// A point that may be chosen.
struct Setting {
  KineticsModel model;
  KineticsRun run;
  std::string name;  // of the attention
  KineticsAttention attention;
  KineticsCost cost;
  double seconds = 0;
  bool on_front = false;

  double tokens() const { return static_cast<double>(run.trials * run.generated); }
};

KineticsModel ModelOf(const Flags& flags, const std::string& name) {
  const std::vector<std::string> published = PublishedKineticsModels();
  if (std::find(published.begin(), published.end(), name) != published.end()) {
    return PublishedKineticsModel(name);
  }
  const KvTypes kv = ParseKvTypes(flags.machine.kv);
  const auto bytes = [](KvType type) {
    return static_cast<double>(ElementBits(type)) / 8 + (HasScales(type) ? 2.0 / kCodeBlock : 0.0);
  };
  const std::string path = ResolveModel(name);
  KineticsModel model =
      KineticsModelOf(GgufFile::Open(path), (bytes(kv.key) + bytes(kv.value)) / 2);
  if (model.name.empty()) model.name = std::filesystem::path(path).filename();
  return model;
}

KineticsDevice DeviceOf(const Flags& flags) {
  if (flags.device != "measured") return ParseKineticsDevice(flags.device);
  const std::unique_ptr<Context> context = MakeContext(flags.machine);
  const MachineLimits limits = MeasureMachineLimits(*context);
  return {"this machine", limits.fma_gflops * 1e9, limits.read_gb_per_second * 1e9};
}

// On the front: nothing else makes as many tokens by as large a model in less time.
void MarkFront(std::vector<Setting>& settings) {
  for (Setting& setting : settings) {
    setting.on_front = std::none_of(settings.begin(), settings.end(), [&](const Setting& other) {
      return other.tokens() >= setting.tokens() &&
             other.model.parameters >= setting.model.parameters && other.seconds < setting.seconds;
    });
  }
}

std::vector<KineticsRun> RunsOf(const Flags& flags) {
  std::vector<KineticsRun> runs;
  for (const std::int64_t prompt : flags.prompts) {
    for (const std::int64_t generated : flags.generated) {
      for (const std::int64_t trials : flags.trials) runs.push_back({prompt, generated, trials});
    }
  }
  return runs;
}

std::vector<Setting> SettingsOf(const Flags& flags, const KineticsDevice& device) {
  std::vector<std::pair<std::string, KineticsAttention>> attention;
  for (const AttentionSpec& spec : SpecsOf(flags.attention)) {
    const KineticsAttention made = KineticsAttentionOf(spec);
    attention.emplace_back(ToText(spec), flags.published ? AsPublished(made) : made);
  }
  std::vector<Setting> settings;
  for (const std::string& name : flags.models) {
    const KineticsModel model = ModelOf(flags, name);
    for (const KineticsRun& run : RunsOf(flags)) {
      for (const auto& [text, kind] : attention) {
        const KineticsCost cost =
            flags.published ? PublishedCost(model, run, kind) : TotalCost(model, run, kind);
        settings.push_back(
            {model, run, text, kind, cost, RooflineSeconds(model, run, kind, device)});
      }
    }
  }
  MarkFront(settings);
  return settings;
}

// What fits the budget and makes most, tokens times parameters; of equals the quickest.
const Setting* BestOf(const Flags& flags, const std::vector<Setting>& settings) {
  const Setting* best = nullptr;
  for (const Setting& setting : settings) {
    if (setting.seconds > flags.budget) continue;
    const auto merit = [](const Setting& s) {
      return std::tuple(s.tokens() * s.model.parameters, -s.seconds);
    };
    if (best == nullptr || merit(setting) > merit(*best)) best = &setting;
  }
  return best;
}

OrderedJson SettingJson(const Setting& s, const KineticsDevice& device) {
  return {{"model", s.model.name},
          {"attention", s.name},
          {"prompt", s.run.prompt},
          {"generated", s.run.generated},
          {"trials", s.run.trials},
          {"compute_flop", s.cost.compute},
          {"attention_flop", s.cost.attention},
          {"kv_bytes", s.cost.kv_bytes},
          {"weight_bytes", s.cost.weight_bytes},
          {"equivalent_flop", s.cost.equivalent(device.intensity())},
          {"roofline_seconds", s.seconds},
          {"tokens_per_second", s.tokens() / s.seconds},
          {"peak_kv_bytes", PeakKvBytes(s.model, s.run)},
          {"on_front", s.on_front}};
}

void PrintTable(const std::vector<Setting>& settings, const KineticsDevice& device) {
  std::size_t width = 9;
  for (const Setting& s : settings) width = std::max(width, s.name.size());
  width = std::min<std::size_t>(width, 48);
  fmt::print("  {:<16} {:<{}} {:>7} {:>7} {:>6} {:>11} {:>10} {:>10} {:>11} {:>10} {:>9} {:>9}\n",
             "model", "attention", width, "prompt", "tokens", "trials", "GFLOP", "KV read",
             "weights", "eGFLOP", "roofline", "tok/s", "KV peak");
  for (const Setting& s : settings) {
    fmt::print(
        "{} {:<16} {:<{}} {:>7} {:>7} {:>6} {:>11.1f} {:>10} {:>10} {:>11.1f} {:>8.2f} s {:>9.1f} "
        "{:>9}\n",
        s.on_front ? '*' : ' ', s.model.name.substr(0, 16), s.name.substr(0, width), width,
        s.run.prompt, s.run.generated, s.run.trials, s.cost.compute * 1e-9,
        HumanBytes(s.cost.kv_bytes), HumanBytes(s.cost.weight_bytes),
        s.cost.equivalent(device.intensity()) * 1e-9, s.seconds, s.tokens() / s.seconds,
        HumanBytes(PeakKvBytes(s.model, s.run)));
  }
}

// The formula of each figure, with its values.
void Explain(const Setting& s, const KineticsDevice& device) {
  const double query = s.model.query_width(), kv = s.model.kv_width();
  const double weights = 2 * s.model.parameters * s.tokens();
  fmt::print(
      "\n{}, {}, {} + {} tokens, {} trials\n"
      "  weights    2 P n L_out = 2 * {:.4g} * {} * {} = {:.4g} FLOP\n"
      "  attention  sum over tokens and layers of 4 H D keys + scores of keys or blocks, "
      "sum of H D = {:.4g}: {:.4g} FLOP\n"
      "  KV read    sum of 2 Hkv D keys * {:.4g} bytes, sum of Hkv D = {:.4g}, "
      "the prompt's once for all trials: {:.4g} bytes\n"
      "  weights    {:.4g} bytes for each step: {:.4g} bytes\n"
      "  eFLOP      compute + I * bytes = {:.4g} + {:.4g} * {:.4g} = {:.4g}\n",
      s.model.name, s.name, s.run.prompt, s.run.generated, s.run.trials, s.model.parameters,
      s.run.trials, s.run.generated, weights, query, s.cost.attention, s.model.kv_element_bytes, kv,
      s.cost.kv_bytes, s.model.weight_bytes, s.cost.weight_bytes, s.cost.compute,
      device.intensity(), s.cost.bytes(), s.cost.equivalent(device.intensity()));
}

void PrintBreakEven(const std::vector<Setting>& settings) {
  std::string last;
  for (const Setting& s : settings) {
    const double keys = BreakEvenContext(s.model);
    if (s.model.name == last || keys == 0) continue;
    last = s.model.name;
    fmt::print("{}: caches outweigh the weights from {:.0f} tokens on (of all trials together)\n",
               s.model.name, keys);
  }
}

// By the names that a file of answers may use: those of the flags and the models' own.
KineticsModels ModelsOf(const Flags& flags) {
  KineticsModels models;
  for (const std::string& name : flags.models) {
    const KineticsModel model = ModelOf(flags, name);
    models.emplace(name, model);
    models.emplace(model.name, model);
  }
  return models;
}

int PlanAnswers(const Flags& flags) {
  const KineticsModels models = ModelsOf(flags);
  const std::optional<std::int64_t> prompt =
      flags.prompts.size() == 1 ? std::optional(flags.prompts[0]) : std::nullopt;
  std::vector<AnswerSet> answers =
      ParseAnswerSets(ReadTextFile(flags.accuracy), flags.accuracy, models, prompt);
  for (AnswerSet& set : answers) {
    if (flags.published) set.kind = AsPublished(set.kind);
  }
  return PlanFrontier(
      answers, models, DeviceOf(flags),
      {.unit = flags.cost == "seconds" ? CostUnit::kSeconds : CostUnit::kEquivalentFlop,
       .budget = flags.budget,
       .chart = flags.chart,
       .json = flags.json});
}

int PlanKinetics(const Flags& flags) {
  if (!flags.accuracy.empty()) return PlanAnswers(flags);
  const KineticsDevice device = DeviceOf(flags);
  const std::vector<Setting> settings = SettingsOf(flags, device);
  const Setting* best = flags.budget > 0 ? BestOf(flags, settings) : nullptr;
  if (flags.json) {
    OrderedJson object = {{"device", device.name},
                          {"flops", device.flops},
                          {"bytes_per_second", device.bytes_per_second},
                          {"intensity", device.intensity()},
                          {"settings", OrderedJson::array()}};
    for (const Setting& s : settings) object["settings"].push_back(SettingJson(s, device));
    if (best != nullptr) object["best"] = SettingJson(*best, device);
    PrintJson(object);
    return kExitOk;
  }
  fmt::print("{}: {:.4g} GFLOP/s, {:.4g} GB/s, {:.1f} operations in the time of reading a byte\n\n",
             device.name, device.flops * 1e-9, device.bytes_per_second * 1e-9, device.intensity());
  PrintTable(settings, device);
  fmt::print("\n* nothing else makes as many tokens by as large a model in less time\n");
  PrintBreakEven(settings);
  if (best != nullptr) {
    fmt::print("within {} s: {} with {}, {} trials of {} tokens, in {:.2f} s\n", flags.budget,
               best->model.name, best->name, best->run.trials, best->run.generated, best->seconds);
  } else if (flags.budget > 0) {
    fmt::print("within {} s: none of these\n", flags.budget);
  }
  for (const Setting& s : settings) {
    if (flags.explain) Explain(s, device);
  }
  return kExitOk;
}

constexpr const char* kFooter =
    R"(Counts what decoding computes and reads, token by token: eFLOP = compute + I * bytes read, I the
operations that the device does in the time of reading a byte (Kinetics, arXiv 2506.05333). The
roofline lets both overlap within a token: a bound for the time, not a forecast. Trials continue one
prompt together: they share its cache and read the weights once. topk reads every key to choose;
--published takes that as free and uses the closed forms of the paper's code, without weights for
the sizes it names (qwen3-0.6b, -1.7b, -4b, -8b, -14b, -32b). The first dense_layers of topk and
block read all keys, but not in --published.

--accuracy FILE says what budgets buy, from answers that were measured. A line of FILE is JSON: what
some trials of a setting made of a question (--prompt where it says nothing of `prompt`):

  {"question": "q7", "model": "qwen3-0.6b", "attention": "block:topk=64", "prompt": 180,
   "generated": [8120, 4711], "correct": [false, true]}

`generated` is one number where all trials are equally long. Any number of trials m of a line may be
chosen: it covers the question with pass@m = 1 - C(N-c, m) / C(N, m), c of its N correct. At each
budget every question takes what covers it best, and the coverage is the mean over all questions;
`gain` is over the row above, `over full` over what full attention alone covers at that budget. The
sums over tokens stay exact with --published.

Examples:
  foveate plan kinetics --model smollm2 --prompt 512,8192 --gen 1024 --trials 1,16
  foveate plan kinetics --model smollm2 --gen 2048 --trials 1,4,16,64 --budget 60
  foveate plan kinetics --model qwen3-0.6b,qwen3-8b --device b200 --published --attention full
  foveate plan kinetics --model qwen3-0.6b,qwen3-8b --device b200 --accuracy aime.jsonl)";

}  // namespace

void AddPlanKineticsVerb(CLI::App& plan, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = plan.add_subcommand("kinetics", "What generated tokens cost, memory included");
  verb->footer(kFooter);
  verb->add_option("--model", flags->models, "model files, known models or published sizes, a list")
      ->delimiter(',')
      ->required();
  const auto counts = [&](const char* name, std::vector<std::int64_t>& list, const char* help,
                          std::int64_t least, std::int64_t most) {
    return verb->add_option(name, list, help)
        ->delimiter(',')
        ->check(CLI::Range(least, most))
        ->capture_default_str();
  };
  counts("--prompt", flags->prompts, "tokens of the prompt, a list", 0, kMostKineticsTokens);
  CLI::Option* gen = counts("--gen", flags->generated, "tokens that a trial generates, a list", 1,
                            kMostKineticsTokens);
  CLI::Option* trials =
      counts("--trials", flags->trials, "trials that continue the prompt, a list", 1, kMostTrials);
  CLI::Option* attention = verb->add_option("--attention,-a", flags->attention,
                                            "full, topk and block with any parameters")
                               ->capture_default_str();
  verb->add_option("--device", flags->device, "measured, b200, h100 or GFLOP/s,GB/s")
      ->capture_default_str();
  verb->add_option("--budget", flags->budget, "seconds: says what fits and makes most")
      ->check(CLI::PositiveNumber);
  verb->add_option("--kv", flags->machine.kv, "types of the cache: TYPE or KEYS/VALUES")
      ->capture_default_str();
  verb->add_flag("--published", flags->published, "the closed forms of the paper's code");
  CLI::Option* explain = verb->add_flag("--explain", flags->explain, "formulas with their values");
  CLI::Option* accuracy =
      verb->add_option("--accuracy", flags->accuracy, "answers, JSON lines: coverage of budgets")
          ->excludes(gen, trials, attention, explain);
  verb->add_option("--cost", flags->cost, "what its budgets are: eflop or seconds")
      ->check(CLI::IsMember({"eflop", "seconds"}))
      ->needs(accuracy)
      ->capture_default_str();
  verb->add_option("-o,--output", flags->chart, "draw them: FILE.svg")->needs(accuracy);
  AddMachineOptions(*verb, flags->machine);
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return PlanKinetics(*flags); }; });
}

}  // namespace foveate::cli
