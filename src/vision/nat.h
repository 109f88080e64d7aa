// Neighborhood Attention Transformers that classify images: NAT (Hassani et al. 2023, "Neighborhood
// Attention Transformer", arXiv 2204.07143) and, with dilated windows, DiNAT (Hassani and Shi 2022,
// "Dilated Neighborhood Attention Transformer", arXiv 2209.15001).
//
//   Nat model = Nat::Load(context, SafetensorsFile::Open("nat_mini.safetensors"));
//   std::vector<float> logits = model.Logits(context, image);  // [3, H, W], normalised
//
// Two convolutions halve the image to tokens of 4 x 4 pixels; levels of blocks follow, between
// which a convolution halves the grid and doubles the channels. A block is x += attention(norm(x)),
// x += mlp(norm(x)); attention is neighborhood attention with a bias by relative position. A grid
// smaller than window x dilation gets zeros behind its rows and columns for the attention. Logits
// are a linear layer of the mean token.
//
// NAT-mini at 224 x 224: 2.7 G multiply-adds, of which attention is a twentieth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/tensor.h"
#include "format/safetensors.h"
#include "vision/layers.h"

namespace foveate {

class Nat {
 public:
  // Sizes follow from the shapes of the tensors, whose names are those of the authors' checkpoints
  // (patch_embed.proj.0.weight, levels.0.blocks.0.attn.rpb, .. head.weight). Dilations are not
  // among them: `dilations` of the metadata gives them by level and block,
  // "[[1,8,1],[1,4,1,4],..]"; without it all are 1. Throws Error(kCorruptFile) naming the tensor
  // that is missing or does not fit, and kUnsupported for a type without numbers.
  static Nat Load(Context& context, const SafetensorsFile& file);

  // image [3, H, W], by any strides, as the weights expect it (mean and deviation taken off).
  // Throws Error(kInvalidArgument) for another number of channels, and an empty image.
  std::vector<float> Logits(Context& context, const View<const float, 3>& image) const;

 private:
  struct Block {
    NormLayer norm1, norm2;
    LinearLayer qkv, projection, fc1, fc2;
    std::vector<float> bias;            // [heads, 2 window - 1, 2 window - 1]
    std::vector<float> gamma1, gamma2;  // scales of what is added; empty: 1
    std::int64_t heads = 0, window = 0, dilation = 1;
  };
  struct Level {
    std::vector<Block> blocks;
    LinearLayer reduction;  // of the last level: no rows
    NormLayer reduction_norm;
  };

  static Block LoadBlock(const LayerReader& reader, const std::string& name, std::int64_t channels);
  static void RunBlock(Context& context, const Block& block, TokenMap& x);
  static TokenMap Attend(Context& context, const Block& block, const TokenMap& x);

  LinearLayer embed1_, embed2_;
  NormLayer embed_norm_;
  std::vector<Level> levels_;
  NormLayer norm_;
  LinearLayer head_;
};

}  // namespace foveate
