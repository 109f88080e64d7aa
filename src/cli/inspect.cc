// `foveate inspect`: what a model file holds.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "format/safetensors.h"
#include "model/config.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::uint64_t kShownElements = 8;  // of an array
constexpr std::size_t kShownBytes = 200;     // of a string

struct InspectOptions {
  std::string file;
  bool check = false;
  bool json = false;
};

OrderedJson ValueJson(const GgufFile& file, const GgufPair& pair) {
  const std::string_view key = pair.key;
  switch (pair.value.type) {
    case GgufType::kString: return *file.Get<std::string_view>(key);
    case GgufType::kBool: return *file.Get<bool>(key);
    case GgufType::kF32:
    case GgufType::kF64: return *file.Get<double>(key);
    case GgufType::kU64: return *file.Get<std::uint64_t>(key);
    case GgufType::kArray: {
      OrderedJson elements = OrderedJson::array();
      const std::uint64_t shown = std::min(pair.value.count, kShownElements);
      const auto add = [&](const auto& values) {
        for (std::uint64_t i = 0; i < shown; ++i) elements.push_back(values[i]);
      };
      if (pair.value.element_type == GgufType::kString) {
        add(*file.GetArray<std::string_view>(key));
      } else if (pair.value.element_type == GgufType::kBool) {
        const std::vector<bool> values = *file.GetArray<bool>(key);
        for (std::uint64_t i = 0; i < shown; ++i) elements.push_back(bool{values[i]});
      } else if (pair.value.element_type == GgufType::kF32 ||
                 pair.value.element_type == GgufType::kF64) {
        add(*file.GetArray<double>(key));
      } else {
        add(*file.GetArray<std::int64_t>(key));
      }
      return {{"count", pair.value.count}, {"first", elements}};
    }
    default: return *file.Get<std::int64_t>(key);
  }
}

std::string Shortened(std::string text) {
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return text;
}

OrderedJson TensorsJson(const std::vector<StoredTensor>& tensors) {
  OrderedJson rows = OrderedJson::array();
  for (const StoredTensor& tensor : tensors) {
    rows.push_back({{"name", tensor.name},
                    {"type", TensorTypeName(tensor.type)},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes.size()}});
  }
  return rows;
}

// How many tensors, numbers and bytes there are of each type.
struct TypeTotal {
  std::int64_t tensors = 0, elements = 0, bytes = 0;
};

std::map<std::string, TypeTotal> Totals(const std::vector<StoredTensor>& tensors) {
  std::map<std::string, TypeTotal> totals;
  for (const StoredTensor& tensor : tensors) {
    TypeTotal& total = totals[std::string(TensorTypeName(tensor.type))];
    ++total.tensors;
    total.elements += tensor.elements();
    total.bytes += static_cast<std::int64_t>(tensor.bytes.size());
  }
  return totals;
}

void PrintTensors(const std::vector<StoredTensor>& tensors) {
  fmt::print("\ntensors\n");
  for (const StoredTensor& tensor : tensors) {
    fmt::print("  {:<32} {:<8} {:<20} {:>10}\n", Quoted(tensor.name), TensorTypeName(tensor.type),
               fmt::format("[{}]", fmt::join(tensor.shape, ", ")),
               HumanBytes(static_cast<double>(tensor.bytes.size())));
  }
  fmt::print("\ntypes\n");
  for (const auto& [type, total] : Totals(tensors)) {
    fmt::print("  {:<8} {:>5} tensors {:>14} numbers {:>10}\n", type, total.tensors, total.elements,
               HumanBytes(static_cast<double>(total.bytes)));
  }
}

// The configuration, where the architecture is one that runs.
std::optional<ModelConfig> ConfigOf(const GgufFile& file, std::string& problem) {
  try {
    return ReadModelConfig(file);
  } catch (const Error& error) {
    problem = error.what();
    return std::nullopt;
  }
}

std::int64_t KvBytesPerToken(const ModelConfig& config) {
  std::int64_t bytes = 0;
  for (const LayerConfig& layer : config.layers) {
    if (layer.window == 0) bytes += layer.kv_heads * (config.key_dim + config.value_dim) * 2;
  }
  return bytes;
}

OrderedJson ConfigJson(const ModelConfig& config) {
  OrderedJson windows = OrderedJson::array();
  for (const LayerConfig& layer : config.layers) windows.push_back(layer.window);
  const LayerConfig& first = config.layers.front();
  return {{"architecture", config.architecture->name},
          {"name", config.name},
          {"layers", config.layers.size()},
          {"embedding", config.embedding},
          {"query_heads", first.query_heads},
          {"kv_heads", first.kv_heads},
          {"key_dim", config.key_dim},
          {"value_dim", config.value_dim},
          {"feed_forward", first.feed_forward},
          {"vocabulary", config.vocabulary},
          {"context", config.context},
          {"windows", windows},
          {"rope_base", config.rope_base},
          {"rope_scaling", RopeScalingName(config.rope_scaling.type)},
          {"rms_epsilon", config.rms_epsilon},
          {"kv_bytes_per_token_f16", KvBytesPerToken(config)}};
}

void PrintConfig(const ModelConfig& config) {
  const OrderedJson values = ConfigJson(config);
  for (const auto& [key, value] : values.items()) {
    if (key == "windows") continue;
    fmt::print("  {:<24} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  std::int64_t sliding = 0, window = 0;
  for (const LayerConfig& layer : config.layers) {
    sliding += layer.window > 0;
    window = std::max(window, layer.window);
  }
  if (sliding > 0) {
    fmt::print("  {:<24} {} of {} layers see {} tokens\n", "sliding window", sliding,
               config.layers.size(), window);
  }
}

int ReportFindings(const std::vector<std::string>& findings, bool json) {
  if (!json) {
    for (const std::string& finding : findings) fmt::print("problem: {}\n", finding);
    fmt::print("{}\n", findings.empty() ? "checked: every tensor is sound" : "NOT sound");
  }
  return findings.empty() ? kExitOk : kExitCheckFailed;
}

int InspectGguf(const InspectOptions& options, const std::string& path) {
  const GgufFile file = GgufFile::Open(path);
  std::string problem;
  const std::optional<ModelConfig> config = ConfigOf(file, problem);
  std::vector<std::string> findings;
  if (options.check) findings = file.CheckTensors();
  if (options.json) {
    OrderedJson metadata = OrderedJson::object();
    for (const GgufPair& pair : file.metadata()) {
      metadata[std::string(pair.key)] = ValueJson(file, pair);
    }
    OrderedJson object = {{"path", path},
                          {"format", "gguf"},
                          {"version", file.version()},
                          {"bytes", file.file_bytes()},
                          {"config", config ? ConfigJson(*config) : OrderedJson()},
                          {"metadata", metadata},
                          {"tensors", TensorsJson(file.tensors())}};
    if (options.check) object["problems"] = findings;
    PrintJson(object);
  } else {
    fmt::print("{}: GGUF version {}, {}\n", path, file.version(),
               HumanBytes(static_cast<double>(file.file_bytes())));
    if (config) {
      PrintConfig(*config);
    } else {
      fmt::print("  cannot run: {}\n", problem);
    }
    fmt::print("\nmetadata\n");
    for (const GgufPair& pair : file.metadata()) {
      if (pair.key == "tokenizer.chat_template") continue;
      fmt::print(
          "  {:<40} {}\n", Quoted(pair.key),
          Shortened(
              ValueJson(file, pair).dump(-1, ' ', false, OrderedJson::error_handler_t::replace)));
    }
    if (const auto source = file.Get<std::string_view>("tokenizer.chat_template")) {
      fmt::print("\nchat template\n{}\n", Quoted(*source));
    }
    PrintTensors(file.tensors());
  }
  return options.check ? ReportFindings(findings, options.json) : kExitOk;
}

int InspectSafetensors(const InspectOptions& options, const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::Open(path);
  if (options.json) {
    PrintJson({{"path", path},
               {"format", "safetensors"},
               {"metadata", file.metadata()},
               {"tensors", TensorsJson(file.tensors())}});
  } else {
    fmt::print("{}: safetensors\n", path);
    for (const auto& [key, value] : file.metadata()) {
      fmt::print("  {:<24} {}\n", Quoted(key), Shortened(Quoted(value)));
    }
    PrintTensors(file.tensors());
  }
  // Opening has checked every offset; the bytes themselves may be anything.
  return options.check ? ReportFindings({}, options.json) : kExitOk;
}

int Inspect(const InspectOptions& options) {
  const std::string path = ResolveModel(options.file);
  const auto ends_with = [&](std::string_view end) {
    return path.size() >= end.size() &&
           path.compare(path.size() - end.size(), end.size(), end) == 0;
  };
  const bool safetensors = ends_with(".safetensors") || ends_with(".safetensors.index.json");
  return safetensors ? InspectSafetensors(options, path) : InspectGguf(options, path);
}

}  // namespace

void AddInspectVerb(CLI::App& app, Work& work) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* verb = app.add_subcommand("inspect", "What a GGUF or safetensors file holds");
  verb->add_option("file", options->file, "model file, known name or hf:org/repo/file.gguf")
      ->required()
      ->type_name("FILE");
  verb->add_flag("--check", options->check, "read and verify the whole file");
  verb->add_flag("--json", options->json, "print one JSON object");
  verb->callback([options, &work] { work = [options] { return Inspect(*options); }; });
}

}  // namespace foveate::cli
