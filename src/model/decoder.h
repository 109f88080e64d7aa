// The forward pass of a decoder-only transformer with its KV cache: tokens in, logits out.
//
//   Decoder decoder(context, model, {.context = 4096});
//   decoder.Evaluate(prompt_ids);                 // up to options.chunk tokens per call
//   decoder.Logits(prompt_ids.size() - 1, MakeView(logits.data(), 1, vocabulary));
//
// Cost per token: 2 FLOP per weight, and 4 * L * H * D * M for attention over M cached positions.
// All memory is taken by the constructor; the passes allocate nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "attention/kv_cache.h"
#include "base/buffer.h"
#include "base/context.h"
#include "base/tensor.h"
#include "kernels/linear.h"
#include "kernels/vector_ops.h"
#include "model/attention_tally.h"
#include "model/language_model.h"
#include "model/layer_attention.h"
#include "model/rope.h"

namespace foveate {

struct DecoderOptions {
  std::int64_t context = 0;  // positions the cache can hold; 0: DefaultContext()
  std::int64_t chunk = 256;  // most tokens of one Evaluate
  KvType key_type = KvType::kF16;
  KvType value_type = KvType::kF16;
  std::string kv_folder = {};  // keep the cache in files there; empty: in memory
  ActivationMode activations = ActivationMode::kQ8;
  std::optional<RopeScaling> rope_scaling;  // replaces the file's
  std::optional<AttentionSpec> attention;   // replaces the model's own (see PlanAttention)
};

// A context without end, for models whose layers all forget: memory does not grow with it.
inline constexpr std::int64_t kEndlessContext = std::int64_t{1} << 30;

// The context where none is asked for: the model's trained one, or an endless one.
std::int64_t DefaultContext(const ModelConfig& config, const DecoderOptions& options);

// Bytes of KV cache that a decoder with these options allocates. Throws Error(kInvalidArgument) for
// cache types that the model's head dimensions do not allow.
std::int64_t KvBytes(const ModelConfig& config, const DecoderOptions& options);

class Decoder {
 public:
  // Throws Error(kLimit), naming both sizes, when the cache would not fit into memory.
  Decoder(Context& context, std::shared_ptr<const LanguageModel> model, DecoderOptions options);

  const LanguageModel& model() const { return *model_; }
  const DecoderOptions& options() const { return options_; }
  std::int64_t position() const { return position_; }  // tokens evaluated so far
  std::int64_t capacity() const { return options_.context; }
  std::int64_t kv_bytes() const;

  // Runs `tokens` (1 to options().chunk of them) at the next positions. Throws and leaves the state
  // as it was: Error(kInvalidArgument) for an id outside the vocabulary, Error(kLimit) when they do
  // not fit the context.
  // `more_follows`: they are part of a prompt, and not its end.
  void Evaluate(std::span<const TokenId> tokens, bool more_follows = false);

  // Adds what attention costs to a tally, which must outlive the decoder; null: to none.
  void set_tally(AttentionTally* tally) { tally_ = tally; }

  // Logits of rows [first, first + logits.shape[0]) of the last Evaluate; logits is [rows, V].
  void Logits(std::int64_t first, View<float, 2> logits);

  // Forgets everything from `position` on. Layers with a sliding window hold only their last keys:
  // false, and nothing changes, when they no longer have what `position` needs.
  bool Rewind(std::int64_t position);

 private:
  void Embed(std::span<const TokenId> tokens);
  void FillRotations();
  void AttentionBlock(const LayerConfig& layer, const LayerWeights& weights,
                      const LayerAttentionPlan& plan, KvCache& cache, SelectionStates& states);
  void Mix(const LayerAttentionPlan& plan, const KvCache& cache, SelectionStates& states,
           const View<const float, 3>& queries, AttentionTally* tally, View<float, 3> mixed);
  void AddMovedSinks(const MovedSinks& sinks, AttentionOptions options, const KvCache& cache,
                     View<float, 3> mixed, View<float, 2> lse);
  void PrepareHeads(const LayerConfig& layer, const LayerWeights& weights,
                    const LayerAttentionPlan& plan);
  void FeedForwardBlock(const LayerConfig& layer, const LayerWeights& weights);
  void Normalize(const FloatVector& weight);
  void AddOutput(const PackedMatrix& matrix, const FloatVector& bias, const FloatVector& post_norm);

  template <typename Row>
  void ForRows(Row&& row);

  Context& context_;
  std::shared_ptr<const LanguageModel> model_;
  DecoderOptions options_;
  const VectorOps& ops_;
  RopeTables rope_;
  std::vector<LayerAttentionPlan> plans_;          // one per layer
  std::vector<KvCache> caches_;                    // one per layer
  std::vector<SelectionStates> selection_states_;  // likewise
  AttentionScratch attention_scratch_;
  Activations activations_;
  std::int64_t position_ = 0;
  std::int64_t tokens_ = 0;  // rows of the current or last pass
  bool more_follows_ = false;
  AttentionTally* tally_ = nullptr;

  Buffer<float> residual_;                     // [T, E]
  Buffer<float> normed_;                       // [T, E]
  Buffer<float> queries_;                      // [T, H, D]
  Buffer<float> keys_;                         // [T, K, D]
  Buffer<float> values_;                       // [T, K, Dv]
  Buffer<float> mixed_;                        // [T, H, Dv], attention's output
  Buffer<float> lse_;                          // [T, H]
  Buffer<float> sink_queries_;                 // [T, H, D], rotated for moved sinks
  Buffer<float> sink_mixed_;                   // [T, H, Dv]
  Buffer<float> sink_lse_;                     // [T, H]
  Buffer<float> gate_;                         // [T, F]
  Buffer<float> up_;                           // [T, F]
  Buffer<float> global_cosine_, global_sine_;  // [T, rope_dim / 2]
  Buffer<float> local_cosine_, local_sine_;
};

}  // namespace foveate
