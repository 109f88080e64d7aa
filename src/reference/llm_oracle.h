// The forward pass of a language model in float64 and plain loops: what the engine is compared
// with. Slow on purpose, no cache, no threads; weights are widened row by row, never kept.
//
//   LlmOracle oracle(file);
//   std::vector<double> logits = oracle.Logits(tokens);  // [tokens, vocabulary]
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "reference/llm_config.h"
#include "reference/rope.h"

namespace foveate::reference {

struct OracleOptions {
  // Replaces the file's rope scaling by none, linear, NTK-aware or YaRN with this factor. Layers
  // that the architecture exempts from scaling stay exempt; factors stored as a tensor still apply.
  std::optional<RopeScaling> rope_scaling = {};
  double rope_factor = 1;
  std::int64_t context = 0;  // of the session: picks LongRoPE's factors; 0 is the file's
};

class LlmOracle {
 public:
  // `file` must outlive the oracle.
  explicit LlmOracle(const GgufFile& file, const OracleOptions& options = {});

  const LlmConfig& config() const { return config_; }

  // Logits [tokens.size() - first_row, V] of the positions from `first_row` on; `tokens` start at
  // position 0. Throws Error(kInvalidArgument) for a token outside the vocabulary.
  std::vector<double> Logits(std::span<const std::int32_t> tokens,
                             std::int64_t first_row = 0) const;

 private:
  // All matrices are row-major, one row per token: [n, width].
  using Matrix = std::vector<double>;
  struct Heads {
    Matrix q;  // [n, H, D]
    Matrix k;  // [n, K, D]
    Matrix v;  // [n, K, Dv]
  };

  Matrix Embed(std::span<const std::int32_t> tokens) const;
  Heads ProjectHeads(const Matrix& h, std::int64_t layer) const;
  void NormHeads(Heads& heads, std::int64_t layer) const;
  void PlaceHeads(Heads& heads, std::int64_t layer) const;
  Matrix Attend(const Heads& heads, std::int64_t layer) const;
  Matrix Attention(const Matrix& x, std::int64_t layer) const;
  Matrix FeedForward(const Matrix& x, std::int64_t layer) const;

  Matrix RmsNorm(Matrix x, const std::string& weight) const;
  Matrix Linear(const Matrix& x, const std::string& name) const;
  const StoredTensor& Tensor(const std::string& name) const;
  std::vector<double> Vector(const std::string& name) const;

  const GgufFile& file_;
  LlmConfig config_;
  Rope rope_;
  Rope sliding_rope_;
};

}  // namespace foveate::reference
