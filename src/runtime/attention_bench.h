// Speed of the attention operator on this machine: mechanisms side by side, in one interleaved run,
// against the machine's own limits and against dense attention.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attention/kv_cache.h"
#include "base/context.h"
#include "base/tensor_ref.h"
#include "mechanisms/spec.h"

namespace foveate {

struct HeadCounts {
  std::string name;  // "8/2", "mha"
  std::int64_t heads = 8;
  std::int64_t kv_heads = 8;
};

// "8/2", "8" or one of the layouts of a model of 16 heads: mha 16/16, gqa 16/4, mqa 16/1, sqa 8/4,
// ssqa 8/8, xsqa 4/4. Throws Error(kInvalidArgument).
HeadCounts ParseHeadCounts(const std::string& text);

struct AttentionBenchOptions {
  std::vector<AttentionSpec> mechanisms;  // what layer 0 does is measured
  std::vector<HeadCounts> heads;
  std::vector<std::int64_t> lengths;    // keys
  std::optional<std::int64_t> queries;  // rows; none: as many as keys
  std::vector<std::int64_t> dims;
  std::vector<ElementType> types;
  std::vector<KvTypes> kv;  // through KV caches of these types, filled before; none: plain tensors
  bool backward = false;    // the backward pass as well, in the same rounds; plain tensors only
  int repetitions = 5;      // measured, after one that is not
  std::function<void(const std::string& what)> on_step;  // may throw to stop
};

struct AttentionBenchRow {
  std::string mechanism;
  HeadCounts heads;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::int64_t dim = 0;
  std::string type;        // of the tensors
  std::string kv;          // of the cache; empty: plain tensors
  bool backward = false;   // the row is of the backward pass
  double pairs = 0;        // that one head attends
  double tiles = 0;        // of 64 x 64 that its schedule visits
  double dense_tiles = 0;  // that there are
  std::int64_t bytes = 0;  // of keys and values, each once
  double schedule_seconds = 0;
  double error = 0;  // largest difference to the reference, as a share of its rounding bound
  std::vector<double> seconds;
  std::vector<double> share_of_fma;        // of each repetition, to the peak measured before it
  std::vector<double> share_of_reading;    // likewise, to a plain sum over as many bytes
  double selection_products = 0;           // products of D numbers that choosing keys took, once
  std::vector<double> share_of_selection;  // time in which keys were chosen by content, if they are
  std::vector<double> speedup;       // over dense in the same round; empty: dense not measured
  std::vector<double> over_forward;  // backward: its time by that of the forward pass before

  double work() const;    // floating-point operations over attended pairs; backward 2.5 of forward
  double gflops() const;  // of the median
};

// A row for each mechanism and shape and, if wanted, one for its backward pass behind it.
// Checks sampled rows of every result against a float64 reference first and throws std::logic_error
// if one is outside its rounding bound: a row that is reported is right.
std::vector<AttentionBenchRow> BenchAttention(Context& context,
                                              const AttentionBenchOptions& options);

double Median(std::vector<double> values);

}  // namespace foveate
