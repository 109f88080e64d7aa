#include "runtime/kinetics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/throw.h"
#include "model/config.h"

namespace foveate {
namespace {

using Kind = KineticsAttention::Kind;

struct Published {
  std::string_view name;
  double parameters;
  std::int64_t layers, heads, kv_heads, head_dim;
};

// Parameters: arXiv 2506.05333; shapes: the Qwen3 report, arXiv 2505.09388.
constexpr std::array kPublished = {Published{"qwen3-0.6b", 0.752e9, 28, 16, 8, 128},
                                   Published{"qwen3-1.7b", 2.03e9, 28, 16, 8, 128},
                                   Published{"qwen3-4b", 4.02e9, 36, 32, 8, 128},
                                   Published{"qwen3-8b", 8.19e9, 36, 32, 8, 128},
                                   Published{"qwen3-14b", 14.77e9, 40, 40, 8, 128},
                                   Published{"qwen3-32b", 32.76e9, 64, 64, 8, 128}};

// Dense 16-bit operations and memory: arXiv 2506.05333 (B200, in 8 bits), NVIDIA's data sheet
// (H100).
const std::array<KineticsDevice, 2> kDevices = {
    {{"b200", 4.5e15, 8e12}, {"h100", 0.989e15, 3.35e12}}};

constexpr double kPublishedElementBytes = 2;

double Cut(std::int64_t keys, std::int64_t most) {
  return static_cast<double>(most > 0 ? std::min(keys, most) : keys);
}

double Real(std::int64_t number) { return static_cast<double>(number); }

bool SeesAll(const KineticsAttention& attention, const KineticsLayer& layer, std::int64_t index) {
  return attention.kind == Kind::kFull || layer.window > 0 || index < attention.dense_layers;
}

}  // namespace

double KineticsModel::query_width() const {
  double sum = 0;
  for (const KineticsLayer& layer : layers) sum += layer.query_width;
  return sum;
}
double KineticsModel::kv_width() const {
  double sum = 0;
  for (const KineticsLayer& layer : layers) sum += layer.kv_width;
  return sum;
}

KineticsModel KineticsModelOf(const GgufFile& file, double kv_element_bytes) {
  const ModelConfig config = ReadModelConfig(file);
  KineticsModel model{.name = config.name, .kv_element_bytes = kv_element_bytes};
  for (const LayerConfig& layer : config.layers) {
    const double width = Real(config.key_dim + config.value_dim) / 2;
    model.layers.push_back(
        {Real(layer.query_heads) * width, Real(layer.kv_heads) * width, layer.window});
  }
  for (const StoredTensor& tensor : file.tensors()) {
    model.parameters += Real(tensor.elements());
    model.weight_bytes += static_cast<double>(tensor.bytes.size());
  }
  return model;
}

std::vector<std::string> PublishedKineticsModels() {
  std::vector<std::string> names;
  for (const Published& model : kPublished) names.emplace_back(model.name);
  return names;
}

KineticsModel PublishedKineticsModel(std::string_view name) {
  for (const Published& known : kPublished) {
    if (known.name != name) continue;
    const KineticsLayer layer{Real(known.heads * known.head_dim),
                              Real(known.kv_heads * known.head_dim)};
    return {.name = std::string(name),
            .parameters = known.parameters,
            .layers = std::vector(known.layers, layer)};
  }
  Throw(ErrorCode::kInvalidArgument, "'{}' is none of {}", name,
        fmt::join(PublishedKineticsModels(), ", "));
}

KineticsAttention KineticsAttentionOf(const AttentionSpec& spec) {
  const LayerAttention& layer = spec.layers().front();
  const bool everywhere =
      layer.layers == Range{0, kNoEnd} && layer.node->kind == SpecNode::Kind::kMechanism;
  const std::string_view name = everywhere ? layer.node->mechanism[0].mechanism().name : "";
  if (name == "full" || name == "causal") return {};
  if (name != "topk" && name != "block") {
    Throw(ErrorCode::kUnsupported, "{}: the planner knows full, topk and block, in all layers",
          ToText(spec));
  }
  // No context is longer, and products of such counts do not overflow.
  const auto count = [&](std::string_view key) {
    return std::min(layer.node->mechanism[0].Integer(key), 2 * kMostKineticsTokens);
  };
  const std::int64_t block = name == "block" ? count("block") : 1;
  return {.kind = name == "block" ? Kind::kTopBlocks : Kind::kTopKeys,
          .always = count("sink") + count("local"),
          .chosen = count("topk") * block,
          .block = block,
          .dense_layers = count("dense_layers")};
}

KineticsAttention AsPublished(KineticsAttention attention) {
  attention.free_choice = true;
  attention.dense_layers = 0;
  return attention;
}

KineticsCost& KineticsCost::operator+=(const KineticsCost& other) {
  compute += other.compute;
  attention += other.attention;
  kv_bytes += other.kv_bytes;
  weight_bytes += other.weight_bytes;
  return *this;
}

KineticsCost operator*(double times, const KineticsCost& cost) {
  return {times * cost.compute, times * cost.attention, times * cost.kv_bytes,
          times * cost.weight_bytes};
}

KineticsShares StepShares(const KineticsModel& model, std::int64_t prompt,
                          const KineticsAttention& attention, std::int64_t step) {
  const std::int64_t keys = prompt + step;
  KineticsCost each, shared{.weight_bytes = model.weight_bytes};
  double own_words = 0, shared_words = 0;  // of keys and values, read
  for (std::int64_t index = 0; index < std::ssize(model.layers); ++index) {
    const KineticsLayer& layer = model.layers[index];
    if (SeesAll(attention, layer, index)) {
      // What is left of the prompt in sight is read once for all.
      const double seen = Cut(keys, layer.window), own = Cut(step, layer.window);
      each.attention += 4 * seen * layer.query_width;
      own_words += 2 * own * layer.kv_width;
      shared_words += 2 * std::max(seen - own, 0.0) * layer.kv_width;
      continue;
    }
    const double seen = Real(std::min(keys, attention.budget()));
    each.attention += 4 * seen * layer.query_width;
    own_words += 2 * seen * layer.kv_width;
    if (attention.kind == Kind::kTopKeys && attention.free_choice) continue;
    // One key for each block, those of the prompt for all trials together.
    const std::int64_t block = attention.kind == Kind::kTopBlocks ? attention.block : 1;
    const double scored = Real(keys / block), of_prompt = Real(prompt / block);
    each.attention += 2 * scored * layer.query_width;
    own_words += (scored - of_prompt) * layer.kv_width;
    shared_words += of_prompt * layer.kv_width;
  }
  each.compute = 2 * model.parameters + each.attention;
  each.kv_bytes = own_words * model.kv_element_bytes;
  shared.kv_bytes = shared_words * model.kv_element_bytes;
  return {each, shared};
}

KineticsCost StepCost(const KineticsModel& model, const KineticsRun& run,
                      const KineticsAttention& attention, std::int64_t step) {
  const KineticsShares shares = StepShares(model, run.prompt, attention, step);
  KineticsCost cost = Real(run.trials) * shares.each;
  return cost += shares.shared;
}

KineticsCost TotalCost(const KineticsModel& model, const KineticsRun& run,
                       const KineticsAttention& attention) {
  KineticsCost total;
  for (std::int64_t step = 0; step < run.generated; ++step) {
    total += StepCost(model, run, attention, step);
  }
  return total;
}

KineticsCost PublishedCost(const KineticsModel& model, const KineticsRun& run,
                           const KineticsAttention& attention) {
  const double prompt = Real(run.prompt), made = Real(run.generated), trials = Real(run.trials);
  const double query = model.query_width(), kv = model.kv_width();
  KineticsCost cost;
  double words = 0;
  if (attention.kind == Kind::kFull) {
    cost.attention = trials * 2 * (2 * prompt + made) * made * query;
    words = (2 * prompt + trials * made) * made * kv;
  } else {
    const double over = std::max(0.0, Real(attention.budget()) - prompt);
    const double sign = attention.kind == Kind::kTopKeys ? 1 : -1;
    const double seen = Real(attention.budget()) * made + sign * over * over / 2;
    cost.attention = trials * 4 * seen * query;
    words = trials * 2 * seen * kv;
    if (attention.kind == Kind::kTopBlocks) {
      const double block = Real(attention.block);
      cost.attention += trials * std::floor((2 * prompt + made) / block) * made * query;
      words += std::floor((2 * prompt + trials * made) / block) * made * kv / 2;
    }
  }
  cost.compute = trials * 2 * model.parameters * made + cost.attention;
  cost.kv_bytes = words * kPublishedElementBytes;
  return cost;
}

KineticsDevice ParseKineticsDevice(const std::string& text) {
  std::string names;
  for (const KineticsDevice& device : kDevices) {
    if (device.name == text) return device;
    names += device.name + ", ";
  }
  double gflops = 0, gbs = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, gflops);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ',') {
    const auto second = std::from_chars(first.ptr + 1, end, gbs);
    if (second.ec == std::errc() && second.ptr == end && gflops > 0 && gbs > 0 &&
        std::isfinite(gflops) && std::isfinite(gbs)) {
      return {text, gflops * 1e9, gbs * 1e9};
    }
  }
  Throw(ErrorCode::kInvalidArgument,
        "device '{}': expected measured, {}or GFLOP/s,GB/s such as 100,25", text, names);
}

double RooflineSeconds(const KineticsCost& step, const KineticsDevice& device) {
  return std::max(step.compute / device.flops, step.bytes() / device.bytes_per_second);
}

double RooflineSeconds(const KineticsModel& model, const KineticsRun& run,
                       const KineticsAttention& attention, const KineticsDevice& device) {
  double seconds = 0;
  for (std::int64_t step = 0; step < run.generated; ++step) {
    seconds += RooflineSeconds(StepCost(model, run, attention, step), device);
  }
  return seconds;
}

double PeakKvBytes(const KineticsModel& model, const KineticsRun& run) {
  double words = 0;
  for (const KineticsLayer& layer : model.layers) {
    const double keys = Cut(run.prompt + run.generated, layer.window);
    const double own = Cut(run.generated, layer.window);
    words += 2 * (keys - own + Real(run.trials) * own) * layer.kv_width;
  }
  return words * model.kv_element_bytes;
}

double BreakEvenContext(const KineticsModel& model) {
  const double per_key = 2 * model.kv_element_bytes * model.kv_width();
  return per_key > 0 ? model.weight_bytes / per_key : 0;
}

}  // namespace foveate
