// The flags that every verb with a model shares, and the way from them to a loaded model.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "model/decoder.h"
#include "runtime/session.h"

namespace foveate::cli {

struct ModelOptions {
  std::string model;
  std::int64_t context = 0;
  int threads = 0;
  std::string isa;
  std::string activations = "q8";
  std::string kv = "f16";
  std::string kv_folder;
  std::string attention;
  std::string rope_scaling;
  double rope_factor = 0;
  std::string pre_tokenizer;
};

// The flags for threads and instruction set.
void AddMachineOptions(CLI::App& verb, ModelOptions& options);
// The positional MODEL and those flags.
void AddModelArgument(CLI::App& verb, ModelOptions& options);
// The flags of its arithmetic: cache, activations, RoPE scaling.
void AddNumericsOptions(CLI::App& verb, ModelOptions& options);
// Those, and the flags of one running model: context and attention.
void AddDecoderOptions(CLI::App& verb, ModelOptions& options);

// The specs of a flag that may be given several times, each a list.
std::vector<AttentionSpec> SpecsOf(const std::vector<std::string>& lists);

// The file that MODEL means; fetches the default model when it is missing.
std::string ResolveModel(const std::string& model);

// A context with the threads and the instruction set of the flags.
std::unique_ptr<Context> MakeContext(const ModelOptions& options);

struct OpenedModel {
  std::unique_ptr<Context> context;
  std::shared_ptr<const LanguageModel> model;
  DecoderOptions decoder;
  double load_seconds = 0;
};

// Resolves, checks the flags against the model's configuration before its weights are touched, then
// loads it with a progress line.
OpenedModel OpenModel(const ModelOptions& options);

}  // namespace foveate::cli
