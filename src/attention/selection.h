// Keys chosen by their content: what a mechanism does before attention that looks at queries and
// keys. It reads them through SelectionInput and answers with a pattern for each query head; from
// there on it is a mechanism like any other.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "attention/kv_cache.h"
#include "attention/pattern.h"
#include "base/buffer.h"
#include "base/context.h"
#include "base/tensor.h"
#include "base/tensor_ref.h"

namespace foveate {

// Queries and keys of one sequence as attention is going to see them: rotated, and as their cache
// stores them.
class SelectionInput {
 public:
  virtual ~SelectionInput() = default;

  std::int64_t heads = 0;     // H
  std::int64_t kv_heads = 0;  // a divisor of H
  std::int64_t dim = 0;       // D
  AttentionShape shape;
  bool more_follows = false;  // the rows are part of a prompt, and not the last

  // What selectors add to: products of D numbers and D numbers that were computed to choose.
  mutable std::atomic<std::int64_t> products{0};

  std::int64_t group() const { return heads / kv_heads; }
  std::int64_t pages() const;

  // The D floats of a query row.
  virtual void Query(std::int64_t head, std::int64_t row, float* to) const = 0;

  // Keys 64 page and on as panels [4][D][16]. Those behind the last key are any numbers.
  virtual void PackKeys(std::int64_t kv_head, std::int64_t page, float* panels) const = 0;

  // scores [rows][64] of those keys: the rows, packed by AttentionKernels::pack_query, times each.
  virtual void Score(std::int64_t kv_head, std::int64_t page, const float* packed,
                     std::int64_t rows, float* scores) const = 0;
};

// Adds the D numbers of a key of panels [..][D][16] to `sum`.
template <typename T>
void AddKey(const float* panels, std::int64_t key, std::int64_t dim, T* sum) {
  const float* from = panels + key / kPanel * kPanel * dim + key % kPanel;
  for (std::int64_t d = 0; d < dim; ++d) sum[d] += from[d * kPanel];
}

// Of batch `batch` of tensors [B, H, N, D] and [B, Hkv, M, D], which must outlive it.
std::unique_ptr<SelectionInput> SelectFrom(const Context& context, const TensorRef<4>& query,
                                           const TensorRef<4>& key, std::int64_t batch);

// Of queries [T, H, D] at the last positions of a cache, which must outlive it.
std::unique_ptr<SelectionInput> SelectFrom(const Context& context, const KvCache& cache,
                                           const View<const float, 3>& queries);

// All keys of a KV head as panels [pages][4][D][16], packed by all threads.
class PackedKeys {
 public:
  void Pack(Context& context, const SelectionInput& in, std::int64_t kv_head);

  // Panel of keys [16 index, 16 index + 16): [D][16].
  const float* Panel(std::int64_t index) const;

 private:
  std::int64_t dim_ = 0;
  Buffer<float> panels_;
};

class Selector {
 public:
  virtual ~Selector() = default;

  // What is carried from call to call of one layer and sequence, whose cache grows.
  struct State {
    virtual ~State() = default;
  };
  virtual std::unique_ptr<State> NewState() const { return nullptr; }

  // A pattern for each query head; heads that share one share their work. `state`: null for a call
  // of its own. Throws Error(kInvalidArgument) naming the parameter that does not fit the call.
  virtual std::vector<PatternPtr> Select(Context& context, const SelectionInput& in,
                                         State* state) const = 0;
};

using SelectorPtr = std::shared_ptr<const Selector>;

}  // namespace foveate
