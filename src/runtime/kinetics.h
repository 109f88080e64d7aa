// What generating text costs where reading memory costs too: Kinetics, "Rethinking Test-Time
// Scaling Laws" (Sadhukhan et al. 2025, arXiv 2506.05333).
//
// A device that does I operations in the time of reading a byte spends compute + I * bytes
// equivalent operations (eFLOP). Trials that continue one prompt are one batch: they share the
// prompt's keys and values, and read the weights once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/gguf.h"
#include "mechanisms/spec.h"

namespace foveate {

struct KineticsLayer {
  double query_width = 0;   // query heads * D
  double kv_width = 0;      // KV heads * D, of keys as of values
  std::int64_t window = 0;  // keys that the model itself lets it see; 0: all
};

struct KineticsModel {
  std::string name;
  double parameters = 0;
  std::vector<KineticsLayer> layers;
  double weight_bytes = 0;      // read for each step; 0: amortised over a large batch, as published
  double kv_element_bytes = 2;  // of keys and values as they are stored

  double query_width() const;  // of all layers
  double kv_width() const;
};

// From its metadata. Throws Error naming the key that is missing or wrong.
KineticsModel KineticsModelOf(const GgufFile& file, double kv_element_bytes);

// Those that the paper studies (16-bit caches, no weights). Throws Error(kInvalidArgument) that
// lists the names.
KineticsModel PublishedKineticsModel(std::string_view name);
std::vector<std::string> PublishedKineticsModels();

// The most that a plan may count: sums go token by token.
inline constexpr std::int64_t kMostKineticsTokens = 10'000'000;

struct KineticsRun {
  std::int64_t prompt = 0;     // tokens
  std::int64_t generated = 0;  // by each trial
  std::int64_t trials = 1;
};

// What a generated token attends to: all keys, or some besides those that are always kept.
struct KineticsAttention {
  enum class Kind { kFull, kTopKeys, kTopBlocks };

  Kind kind = Kind::kFull;
  std::int64_t always = 0;        // sinks and newest keys
  std::int64_t chosen = 0;        // keys by score
  std::int64_t block = 1;         // keys of a block
  std::int64_t dense_layers = 0;  // first layers, which see all keys
  bool free_choice = false;       // of kTopKeys: scoring every key costs nothing, as published

  std::int64_t budget() const { return always + chosen; }
};

// Of full, causal, topk or block for all layers and heads. Throws Error(kUnsupported) for others.
KineticsAttention KineticsAttentionOf(const AttentionSpec& spec);

// The same as the authors count it: choosing top keys is free, no layer stays dense.
KineticsAttention AsPublished(KineticsAttention attention);

// Of one step of all trials, or of all steps.
struct KineticsCost {
  double compute = 0;       // operations
  double attention = 0;     // of them in attention
  double kv_bytes = 0;      // read of caches
  double weight_bytes = 0;  // read of weights

  double bytes() const { return kv_bytes + weight_bytes; }
  double equivalent(double intensity) const { return compute + intensity * bytes(); }
  KineticsCost& operator+=(const KineticsCost& other);
};
KineticsCost operator*(double times, const KineticsCost& cost);

// Of one step: what every trial adds, and what all of them need once.
struct KineticsShares {
  KineticsCost each, shared;
};

// Of generating token `step` behind a prompt, exactly: it sees prompt + step keys.
KineticsShares StepShares(const KineticsModel& model, std::int64_t prompt,
                          const KineticsAttention& attention, std::int64_t step);

// Of generating token `step` of every trial.
KineticsCost StepCost(const KineticsModel& model, const KineticsRun& run,
                      const KineticsAttention& attention, std::int64_t step);

// Of all steps, exactly.
KineticsCost TotalCost(const KineticsModel& model, const KineticsRun& run,
                       const KineticsAttention& attention);

// The closed forms of the authors' code, which are off where a budget exceeds the prompt (they add
// for top keys what they should subtract).
KineticsCost PublishedCost(const KineticsModel& model, const KineticsRun& run,
                           const KineticsAttention& attention);

struct KineticsDevice {
  std::string name;
  double flops = 0;             // operations per second
  double bytes_per_second = 0;  // read

  double intensity() const { return flops / bytes_per_second; }
};

// "b200", "h100", or "GFLOPS,GBS". Throws Error(kInvalidArgument) that lists the names.
KineticsDevice ParseKineticsDevice(const std::string& text);

// Seconds where computing and reading overlap perfectly within a step: the roofline. Of one step,
// or of all of a run.
double RooflineSeconds(const KineticsCost& step, const KineticsDevice& device);
double RooflineSeconds(const KineticsModel& model, const KineticsRun& run,
                       const KineticsAttention& attention, const KineticsDevice& device);

// The largest cache of a run: that of its end.
double PeakKvBytes(const KineticsModel& model, const KineticsRun& run);

// Keys from which on caches of one trial outweigh the weights; 0: there are none.
double BreakEvenContext(const KineticsModel& model);

}  // namespace foveate
