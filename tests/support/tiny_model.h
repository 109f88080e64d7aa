// Random language models of any architecture and shape, small enough to build in every test.
//
//   GgufWriter writer = MakeTinyModel({.architecture = "qwen3", .heads = 6, .kv_heads = 3});
//   writer.Add("qwen3.rope.scaling.type", "yarn");  // whatever the options do not cover
//   std::vector<std::byte> image = writer.Bytes();  // must outlive the parsed file
//   GgufFile file = GgufFile::Parse(image, "tiny");
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/tensor_type.h"
#include "tests/support/gguf_writer.h"

namespace foveate {

enum class TinyTokenizer {
  kNone,
  kSentencePiece,  // `llama`: <unk> <s> </s>, letters, a few words, byte pieces
  kByteLevel,      // `gpt2`: bytes, a few merges, <|endoftext|> <|im_start|> <|im_end|>
};

struct TinyModelOptions {
  std::string architecture = "llama";
  std::uint64_t seed = 1;

  std::int64_t layers = 2;
  std::int64_t embed = 64;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 16;
  std::int64_t value_dim = 0;  // 0: head_dim
  std::int64_t ffn = 96;
  std::int64_t vocab = 400;  // the tokenizers can spell any text from 400 on
  std::int64_t context = 256;
  // One number for each layer in place of heads, kv_heads and ffn; written as arrays.
  std::vector<std::int64_t> layer_heads = {};
  std::vector<std::int64_t> layer_kv_heads = {};
  std::vector<std::int64_t> layer_ffn = {};

  bool tied = true;         // no output.weight
  bool fused_qkv = false;   // attn_qkv in place of three matrices, of the same numbers
  bool qkv_biases = false;  // on q, k, v; qwen2 always has them
  bool all_biases = false;  // besides on attn_output, ffn_gate, ffn_up and ffn_down
  double norm_epsilon = 1e-5;
  double rope_base = 10000;
  std::int64_t rope_dimensions = 0;  // 0: not written, all of head_dim
  std::int64_t window = 0;           // attention.sliding_window; 0: not written
  double attention_cap = 0;          // 0: not written
  double final_cap = 0;

  TensorType embedding_type = TensorType::kF32;
  TensorType output_type = TensorType::kF32;
  TensorType attention_type = TensorType::kF32;  // q, k, v and output matrices
  TensorType ffn_type = TensorType::kF32;
  TinyTokenizer tokenizer = TinyTokenizer::kByteLevel;
};

// The numbers depend only on the seed and the tensor's name and extents, so models that differ in
// another option share the rest of their weights. Throws std::invalid_argument when rows do not
// divide into blocks of the asked type.
GgufWriter MakeTinyModel(const TinyModelOptions& options);

// The metadata of a vocabulary of exactly `size` pieces; pieces beyond what the tokenizer needs are
// unused ones.
void AddTinyTokenizer(GgufWriter& writer, TinyTokenizer tokenizer, std::int64_t size);

}  // namespace foveate
