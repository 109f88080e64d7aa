#include "cli/model_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>

#include "base/log.h"
#include "base/stopwatch.h"
#include "base/throw.h"
#include "cli/interrupt.h"
#include "cli/progress.h"

namespace foveate::cli {
namespace {

ActivationMode ParseActivations(const std::string& name) {
  if (name == "f32") return ActivationMode::kF32;
  if (name == "q8") return ActivationMode::kQ8;
  Throw(ErrorCode::kInvalidArgument, "--activations: '{}' is neither f32 nor q8", name);
}

std::optional<RopeScaling> ParseRopeScaling(const ModelOptions& options,
                                            const ModelConfig& config) {
  if (options.rope_scaling.empty()) {
    if (options.rope_factor == 0) return std::nullopt;
    Throw(ErrorCode::kInvalidArgument, "--rope-factor needs --rope-scaling");
  }
  RopeScaling scaling;
  scaling.original_context = config.rope_scaling.original_context;
  scaling.factor = options.rope_factor;
  if (scaling.factor == 0) {
    const std::int64_t wanted = options.context == 0 ? config.context : options.context;
    scaling.factor = std::max(1.0, static_cast<double>(wanted) / scaling.original_context);
  }
  if (!std::isfinite(scaling.factor) || scaling.factor < 1) {
    Throw(ErrorCode::kInvalidArgument, "--rope-factor: {} is not a finite number >= 1",
          scaling.factor);
  }
  for (const RopeScalingType type : {RopeScalingType::kNone, RopeScalingType::kLinear,
                                     RopeScalingType::kNtk, RopeScalingType::kYarn}) {
    if (options.rope_scaling == RopeScalingName(type)) {
      scaling.type = type;
      return scaling;
    }
  }
  if (options.rope_scaling == "auto") {
    scaling.type = RopeScalingType::kYarn;
    return scaling;
  }
  Throw(ErrorCode::kInvalidArgument,
        "--rope-scaling: '{}' is none of none, linear, ntk, yarn, auto", options.rope_scaling);
}

// Half of what is free is the most that a context nobody asked for may take.
std::int64_t AffordableContext(const ModelConfig& config, DecoderOptions decoder) {
  const std::int64_t available = SystemMemory().available_bytes;
  decoder.context = foveate::DefaultContext(config, decoder);
  if (decoder.context == kEndlessContext) return decoder.context;
  const std::int64_t needed = KvBytes(config, decoder);
  if (available <= 0 || needed <= available / 2 || !decoder.kv_folder.empty()) {
    return config.context;
  }
  const double share = static_cast<double>(available) / 2 / static_cast<double>(needed);
  const auto reduced = static_cast<std::int64_t>(static_cast<double>(config.context) * share);
  const std::int64_t context = std::max<std::int64_t>(512, reduced / 256 * 256);
  Warn("the model's context of {} tokens would take {} of KV cache; using {} (set --ctx to choose)",
       config.context, HumanBytes(static_cast<double>(needed)), context);
  return context;
}

DecoderOptions MakeDecoderOptions(const ModelOptions& options, const ModelConfig& config) {
  DecoderOptions decoder;
  decoder.activations = ParseActivations(options.activations);
  const KvTypes kv = ParseKvTypes(options.kv);
  decoder.key_type = kv.key;
  decoder.value_type = kv.value;
  decoder.kv_folder = options.kv_folder;
  if (!options.attention.empty()) decoder.attention = ParseAttentionSpec(options.attention);
  decoder.rope_scaling = ParseRopeScaling(options, config);
  if (options.context < 0) {
    Throw(ErrorCode::kInvalidArgument, "--ctx: {} is not a positive number", options.context);
  }
  decoder.context = options.context > 0 ? options.context : AffordableContext(config, decoder);
  const bool scaled = decoder.rope_scaling && decoder.rope_scaling->type != RopeScalingType::kNone;
  if (decoder.context > config.context && decoder.context != kEndlessContext && !scaled) {
    Warn("--ctx {} is beyond the {} tokens that the model was trained on (see --rope-scaling)",
         decoder.context, config.context);
  }
  KvBytes(config, decoder);  // refuses cache types that do not fit, before anything is loaded
  return decoder;
}

}  // namespace

void AddMachineOptions(CLI::App& verb, ModelOptions& options) {
  verb.add_option("--threads,-t", options.threads, "worker threads (default: physical cores)")
      ->check(CLI::Range(1, 1024));
  verb.add_option("--isa", options.isa, "instruction set to use (see `foveate info`)");
}

void AddModelArgument(CLI::App& verb, ModelOptions& options) {
  verb.add_option("model", options.model, "GGUF file, known name or hf:org/repo/file.gguf")
      ->required()
      ->type_name("MODEL");
  AddMachineOptions(verb, options);
  verb.add_option("--pre", options.pre_tokenizer, "replace the file's pre-tokeniser name");
}

void AddNumericsOptions(CLI::App& verb, ModelOptions& options) {
  verb.add_option("--activations", options.activations, "q8: 8-bit activations (fast); f32: exact")
      ->capture_default_str();
  verb.add_option("--kv", options.kv,
                  "KV cache type: f32, f16, bf16, q8_0, q4_0, or K/V as in q8_0/f16")
      ->capture_default_str();
  verb.add_option("--kv-offload", options.kv_folder,
                  "keep the KV cache in files of this folder, for contexts larger than memory")
      ->check(CLI::ExistingDirectory);
  verb.add_option("--rope-scaling", options.rope_scaling,
                  "extend the context: none, linear, ntk, yarn, auto (default: the file's)");
  verb.add_option("--rope-factor", options.rope_factor,
                  "stretch for --rope-scaling (default: context / trained context)");
}

void AddDecoderOptions(CLI::App& verb, ModelOptions& options) {
  verb.add_option("--ctx,-c", options.context, "context length in tokens (default: the model's)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30));
  verb.add_option("--attention,-a", options.attention,
                  "which keys layers without windows of their own attend to, or layers by number: "
                  "sink_window:sink=4,left=1023 (see `foveate mechanisms`)");
  AddNumericsOptions(verb, options);
}

std::vector<AttentionSpec> SpecsOf(const std::vector<std::string>& lists) {
  std::vector<AttentionSpec> specs;
  for (const std::string& list : lists) {
    for (AttentionSpec& spec : ParseSpecList(list)) specs.push_back(std::move(spec));
  }
  return specs;
}

std::unique_ptr<Context> MakeContext(const ModelOptions& options) {
  return std::make_unique<Context>(ContextOptionsOf(options.threads, options.isa));
}

OpenedModel OpenModel(const ModelOptions& options) {
  const Stopwatch watch;
  const std::string path = ResolveModel(options.model);
  OpenedModel opened;
  opened.decoder = MakeDecoderOptions(options, ReadModelConfig(GgufFile::Open(path)));
  opened.context = MakeContext(options);
  ProgressBar bar("loading " + options.model);
  opened.model = LoadLanguageModel(
      *opened.context, path,
      [&](double share) {
        ThrowIfInterrupted();
        bar.Update(share);
      },
      options.pre_tokenizer);
  opened.load_seconds = watch.Seconds();
  return opened;
}

}  // namespace foveate::cli
