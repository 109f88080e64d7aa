#include "vision/nat.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/throw.h"
#include "kernels/vector_ops.h"
#include "mechanisms/window_attention.h"

namespace foveate {
namespace {

using Dilations = std::vector<std::vector<std::int64_t>>;

Dilations DilationsOf(const SafetensorsFile& file) {
  const auto found = file.metadata().find("dilations");
  if (found == file.metadata().end()) return {};
  try {
    return nlohmann::json::parse(found->second).get<Dilations>();
  } catch (const nlohmann::json::exception&) {
    Throw(ErrorCode::kCorruptFile,
          "{}: metadata dilations is not a list of lists of integers, one list for each level",
          file.path());
  }
}

// x += gamma y
void AddScaled(Context& context, const std::vector<float>& gamma, TokenMap& x, TokenMap& y) {
  const VectorOps& ops = VectorOpsFor(context.isa());
  context.pool().ForEach(x.tokens(), [&](std::int64_t token, int) {
    float* from = &y.view()(token, 0);
    if (!gamma.empty()) {
      for (std::int64_t c = 0; c < y.channels; ++c) from[c] *= gamma[c];
    }
    ops.add(&x.view()(token, 0), from, x.channels);
  });
}

TokenMap Normalised(Context& context, const NormLayer& norm, const TokenMap& x) {
  TokenMap normalised(x.height, x.width, x.channels);
  Apply(context, norm, x.view(), normalised.view());
  return normalised;
}

// The upper left part, or zeros behind.
TokenMap Resized(TokenMap x, std::int64_t height, std::int64_t width) {
  if (x.height == height && x.width == width) return x;
  TokenMap resized(height, width, x.channels);
  for (std::int64_t row = 0; row < std::min(height, x.height); ++row) {
    std::copy_n(x.token(row, 0), std::min(width, x.width) * x.channels, resized.token(row, 0));
  }
  return resized;
}

}  // namespace

Nat::Block Nat::LoadBlock(const LayerReader& reader, const std::string& name,
                          std::int64_t channels) {
  Block block;
  const StoredTensor& bias = reader.Tensor(name + ".attn.rpb");
  const bool table = bias.shape.size() == 3 && bias.shape[0] > 0 && channels % bias.shape[0] == 0 &&
                     bias.shape[1] % 2 == 1 && bias.shape[1] == bias.shape[2];
  if (!table) {
    Throw(ErrorCode::kCorruptFile,
          "tensor {}: has no shape [heads, 2 window - 1, 2 window - 1] with heads that divide {} "
          "channels",
          bias.name, channels);
  }
  block.heads = bias.shape[0];
  block.window = (bias.shape[1] + 1) / 2;
  block.bias = reader.Floats(bias.name, bias.shape);
  block.norm1 = reader.Norm(name + ".norm1", channels);
  block.norm2 = reader.Norm(name + ".norm2", channels);
  block.qkv = reader.Linear(name + ".attn.qkv", 3 * channels, channels);
  block.projection = reader.Linear(name + ".attn.proj", channels, channels);
  const std::vector<std::int64_t>& hidden = reader.Tensor(name + ".mlp.fc1.weight").shape;
  block.fc1 = reader.Linear(name + ".mlp.fc1", hidden.empty() ? 0 : hidden[0], channels);
  block.fc2 = reader.Linear(name + ".mlp.fc2", channels, block.fc1.weight.rows());
  for (const auto& [gamma, to] :
       {std::pair{".gamma1", &block.gamma1}, std::pair{".gamma2", &block.gamma2}}) {
    if (reader.Has(name + gamma)) *to = reader.Floats(name + gamma, {channels});
  }
  return block;
}

Nat Nat::Load(Context& context, const SafetensorsFile& file) {
  const LayerReader reader(context, file);
  const Dilations dilations = DilationsOf(file);
  Nat nat;
  const std::vector<std::int64_t>& embed = reader.Tensor("patch_embed.proj.1.weight").shape;
  std::int64_t channels = embed.empty() ? 0 : embed[0];
  nat.embed1_ = reader.Convolution("patch_embed.proj.0", channels / 2, 3);
  nat.embed2_ = reader.Convolution("patch_embed.proj.1", channels, channels / 2);
  nat.embed_norm_ = reader.Norm("patch_embed.norm", channels);
  for (std::size_t i = 0;; ++i) {
    const std::string level_name = fmt::format("levels.{}", i);
    Level level;
    for (std::size_t j = 0;; ++j) {
      const std::string name = fmt::format("{}.blocks.{}", level_name, j);
      if (j > 0 && !reader.Has(name + ".attn.rpb")) break;
      level.blocks.push_back(LoadBlock(reader, name, channels));
      if (dilations.empty()) continue;
      if (i >= dilations.size() || j >= dilations[i].size() || dilations[i][j] < 1) {
        Throw(ErrorCode::kCorruptFile, "{}: metadata dilations has none of 1 or more for {}",
              file.path(), name);
      }
      level.blocks.back().dilation = dilations[i][j];
    }
    const bool last = !reader.Has(level_name + ".downsample.reduction.weight");
    if (!last) {
      const std::string name = level_name + ".downsample";
      level.reduction = reader.Convolution(name + ".reduction", 2 * channels, channels);
      channels *= 2;
      level.reduction_norm = reader.Norm(name + ".norm", channels);
    }
    nat.levels_.push_back(std::move(level));
    if (last) break;
  }
  nat.norm_ = reader.Norm("norm", channels);
  const std::vector<std::int64_t>& head = reader.Tensor("head.weight").shape;
  nat.head_ = reader.Linear("head", head.empty() ? 0 : head[0], channels);
  return nat;
}

// What the tokens get from their neighbours, before the projection.
TokenMap Nat::Attend(Context& context, const Block& block, const TokenMap& x) {
  const std::int64_t channels = x.channels, tokens = x.tokens();
  const std::int64_t heads = block.heads, dim = channels / heads;
  TokenMap qkv(x.height, x.width, 3 * channels);
  Apply(context, block.qkv, x.view(), qkv.view());
  const auto part = [&](std::int64_t which) -> TensorRef<4> {
    return {reinterpret_cast<const std::byte*>(qkv.values.data() + which * channels),
            ElementType::kF32,
            {1, heads, tokens, dim},
            {0, dim, 3 * channels, 1}};
  };
  TokenMap out(x.height, x.width, channels);
  const MutableTensorRef<4> out_ref{reinterpret_cast<std::byte*>(out.values.data()),
                                    ElementType::kF32,
                                    {1, heads, tokens, dim},
                                    {0, dim, channels, 1}};
  const NeighborhoodWindows windows(
      MakeNeighborhoodGrid({x.height, x.width}, {block.window}, {1}, {block.dilation}, {0}));
  std::vector<float> weights(heads * tokens * windows.size());
  WindowAttention(context, windows, {part(0), part(1), part(2)},
                  {.bias = MakeView<const float>(block.bias.data(), heads, windows.bias_entries())},
                  MakeView(weights.data(), 1, heads, tokens, windows.size()), {out_ref});
  return out;
}

void Nat::RunBlock(Context& context, const Block& block, TokenMap& x) {
  const std::int64_t least = block.window * block.dilation;
  TokenMap attended = Attend(context, block,
                             Resized(Normalised(context, block.norm1, x), std::max(x.height, least),
                                     std::max(x.width, least)));
  attended = Resized(std::move(attended), x.height, x.width);
  TokenMap added(x.height, x.width, x.channels);
  Apply(context, block.projection, attended.view(), added.view());
  AddScaled(context, block.gamma1, x, added);

  TokenMap hidden(x.height, x.width, block.fc1.weight.rows());
  Apply(context, block.fc1, Normalised(context, block.norm2, x).view(), hidden.view());
  const VectorOps& ops = VectorOpsFor(context.isa());
  context.pool().ForEach(hidden.tokens(), [&](std::int64_t token, int) {
    ops.gelu(&hidden.view()(token, 0), hidden.channels);
  });
  Apply(context, block.fc2, hidden.view(), added.view());
  AddScaled(context, block.gamma2, x, added);
}

std::vector<float> Nat::Logits(Context& context, const View<const float, 3>& image) const {
  const auto [channels, height, width] = image.shape;
  if (channels != 3 || height < 1 || width < 1) {
    Throw(ErrorCode::kInvalidArgument, "image [{}, {}, {}], expected [3, height, width]", channels,
          height, width);
  }
  TokenMap pixels(height, width, 3);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) pixels.token(y, x)[c] = image(c, y, x);
    }
  }
  TokenMap x = Halve(context, embed2_, Halve(context, embed1_, pixels));
  Apply(context, embed_norm_, x.view(), x.view());
  for (const Level& level : levels_) {
    for (const Block& block : level.blocks) RunBlock(context, block, x);
    if (level.reduction.weight.rows() == 0) continue;
    x = Halve(context, level.reduction, x);
    Apply(context, level.reduction_norm, x.view(), x.view());
  }
  Apply(context, norm_, x.view(), x.view());
  TokenMap mean(1, 1, x.channels);
  for (std::int64_t token = 0; token < x.tokens(); ++token) {
    for (std::int64_t c = 0; c < x.channels; ++c) {
      mean.values[c] += x.view()(token, c) / static_cast<float>(x.tokens());
    }
  }
  std::vector<float> logits(head_.weight.rows());
  Apply(context, head_, mean.view(), MakeView(logits.data(), 1, std::ssize(logits)));
  return logits;
}

}  // namespace foveate
