#include "mechanisms/boundary_predictor.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/throw.h"
#include "format/printable.h"

namespace foveate {
namespace {

constexpr std::int64_t kMostWindow = 1024;
constexpr std::int64_t kTokensAtOnce = 2048;  // of the windows in memory, unless one has more
constexpr float kLeastNorm = 1e-6f;           // of a vector whose cosine is taken

// A count among the metadata.
std::int64_t CountOf(const SafetensorsFile& file, const std::string& key, std::int64_t most) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    Throw(ErrorCode::kCorruptFile, "{}: has no metadata '{}', expected an integer from 1 to {}",
          file.path(), key, most);
  }
  const std::string& text = found->second;
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 1 || count > most) {
    Throw(ErrorCode::kCorruptFile, "{}: metadata {} is '{}', expected an integer from 1 to {}",
          file.path(), key, Printable(text), most);
  }
  return count;
}

// The length of a vector, by which the shapes of others are checked; of a damaged one never 0.
std::int64_t LengthOf(const LayerReader& reader, const std::string& name) {
  return std::max<std::int64_t>(1, reader.Tensor(name).elements());
}

float Dot(const float* a, const float* b, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void AddScaled(float factor, const float* x, std::int64_t n, float* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += factor * x[i];
}

float Cosine(const float* a, const float* b, std::int64_t n) {
  const auto norm = [n](const float* x) { return std::max(std::sqrt(Dot(x, x, n)), kLeastNorm); };
  return Dot(a, b, n) / (norm(a) * norm(b));
}

// Rows of a range, zeros where there are none.
Buffer<float> Padded(const View<const float, 2>& rows, Range range) {
  const std::int64_t width = rows.shape[1];
  Buffer<float> padded(range.size() * width);
  const Range inside = Intersect(range, {0, rows.shape[0]});
  for (std::int64_t row = inside.begin; row < inside.end; ++row) {
    std::copy_n(&rows(row, 0), width, &padded[(row - range.begin) * width]);
  }
  return padded;
}

}  // namespace

BoundaryPredictor::BoundaryPredictor(const SafetensorsFile& file) : path_(file.path()) {
  Context context({.threads = 1});
  const LayerReader reader(context, file);
  channels_ = LengthOf(reader, "enc.norm.weight");
  window_ = CountOf(file, "w", kMostWindow);
  heads_ = CountOf(file, "heads", channels_);
  if (channels_ % heads_ != 0) {
    Throw(ErrorCode::kCorruptFile, "{}: metadata heads is {}, expected a divisor of {} channels",
          path_, heads_, channels_);
  }
  const std::int64_t units = LengthOf(reader, "mlp.0.bias");
  in_ = reader.Linear("enc.mha.in_proj_weight", "enc.mha.in_proj_bias", 3 * channels_, channels_);
  out_ = reader.Linear("enc.mha.out_proj.weight", "enc.mha.out_proj.bias", channels_, channels_);
  norm_ = reader.Norm("enc.norm", channels_);
  if (reader.Has("pool.gate.weight")) gate_ = reader.Floats("pool.gate.weight", {1, channels_});
  hidden_ = reader.Linear("mlp.0.weight", "mlp.0.bias", units, 4 * channels_ + 1);
  logit_ = reader.Linear("mlp.2.weight", "mlp.2.bias", 1, units);
}

std::vector<float> BoundaryPredictor::Logits(Context& context,
                                             const View<const float, 2>& keys) const {
  const auto [count, channels] = keys.shape;
  if (channels != channels_) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: made for keys of {} channels, but those of all KV heads together have {}", path_,
          channels_, channels);
  }
  std::vector<float> logits(count);
  const std::int64_t step = std::max<std::int64_t>(1, kTokensAtOnce / (2 * window_));
  for (std::int64_t first = 0; first < count; first += step) {
    Predict(context, keys, {first, std::min(count, first + step)}, &logits[first]);
  }
  return logits;
}

void BoundaryPredictor::Predict(Context& context, const View<const float, 2>& keys, Range gaps,
                                float* logits) const {
  const VectorOps& ops = VectorOpsFor(context.isa());
  const std::int64_t width = hidden_.weight.columns(), units = hidden_.weight.rows();
  const Buffer<float> encoded = Encode(context, keys, gaps);
  Buffer<float> features(gaps.size() * width), hidden(gaps.size() * units);
  context.pool().ForEach(gaps.size(), [&](std::int64_t gap, int) {
    Describe(ops, &encoded[gap * 2 * window_ * channels_], &features[gap * width]);
  });
  Apply(context, hidden_, MakeView<const float>(features.data(), gaps.size(), width),
        MakeView(hidden.data(), gaps.size(), units));
  for (float& unit : hidden) unit = std::max(unit, 0.0f);
  Apply(context, logit_, MakeView<const float>(hidden.data(), gaps.size(), units),
        MakeView(logits, gaps.size(), 1));
}

// The tokens of the windows around the gaps, [gaps][2w][C].
Buffer<float> BoundaryPredictor::Encode(Context& context, const View<const float, 2>& keys,
                                        Range gaps) const {
  const VectorOps& ops = VectorOpsFor(context.isa());
  const Range seen{gaps.begin - window_ + 1, gaps.end + window_};
  const Buffer<float> padded = Padded(keys, seen);
  Buffer<float> projected_memory(seen.size() * 3 * channels_);
  const View<float, 2> projected = MakeView(projected_memory.data(), seen.size(), 3 * channels_);
  Apply(context, in_, MakeView(padded.data(), seen.size(), channels_), projected);
  const Buffer<float> scores = Scores(context, projected);

  const std::int64_t tokens = gaps.size() * 2 * window_;
  Buffer<float> attended(tokens * channels_), encoded(tokens * channels_);
  context.pool().ForEach(gaps.size(), [&](std::int64_t gap, int) {
    Attend(ops, projected, scores.data(), gap, &attended[gap * 2 * window_ * channels_]);
  });
  const View<float, 2> out = MakeView(encoded.data(), tokens, channels_);
  Apply(context, out_, MakeView<const float>(attended.data(), tokens, channels_), out);
  Apply(context, norm_, out, out);
  return encoded;
}

// Of every token as a query with the keys of those that it meets, [tokens][heads][met].
Buffer<float> BoundaryPredictor::Scores(Context& context,
                                        const View<const float, 2>& projected) const {
  const std::int64_t tokens = projected.shape[0], dim = channels_ / heads_;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  Buffer<float> scores(tokens * heads_ * met());
  context.pool().ForEach(tokens, [&](std::int64_t token, int) {
    const std::int64_t before = token - 2 * window_ + 1;
    const Range met_tokens = Intersect({before, before + met()}, {0, tokens});
    for (std::int64_t head = 0; head < heads_; ++head) {
      const float* query = &projected(token, head * dim);
      float* to = &scores[(token * heads_ + head) * met()];
      for (std::int64_t other = met_tokens.begin; other < met_tokens.end; ++other) {
        to[other - before] = scale * Dot(query, &projected(other, channels_ + head * dim), dim);
      }
    }
  });
  return scores;
}

// Attention among the tokens of one window: adds to [2w][C].
void BoundaryPredictor::Attend(const VectorOps& ops, const View<const float, 2>& projected,
                               const float* scores, std::int64_t gap, float* out) const {
  const std::int64_t tokens = 2 * window_, dim = channels_ / heads_;
  std::vector<float> weights(tokens);
  for (std::int64_t i = 0; i < tokens; ++i) {
    for (std::int64_t head = 0; head < heads_; ++head) {
      const float* of_token = scores + ((gap + i) * heads_ + head) * met();
      std::copy_n(of_token + tokens - 1 - i, tokens, weights.begin());
      ops.softmax(weights.data(), tokens);
      for (std::int64_t j = 0; j < tokens; ++j) {
        AddScaled(weights[j], &projected(gap + j, 2 * channels_ + head * dim), dim,
                  out + i * channels_ + head * dim);
      }
    }
  }
}

// What the last layers see of a window: left and right half, and how they differ.
void BoundaryPredictor::Describe(const VectorOps& ops, const float* encoded,
                                 float* features) const {
  float* left = features;
  float* right = left + channels_;
  Pool(ops, encoded, left);
  Pool(ops, encoded + window_ * channels_, right);
  for (std::int64_t c = 0; c < channels_; ++c) {
    features[2 * channels_ + c] = std::abs(left[c] - right[c]);
    features[3 * channels_ + c] = left[c] * right[c];
  }
  features[4 * channels_] = Cosine(left, right, channels_);
}

// Adds w tokens up.
void BoundaryPredictor::Pool(const VectorOps& ops, const float* tokens, float* pooled) const {
  std::vector<float> weights(window_, 1.0f / static_cast<float>(window_));
  if (!gate_.empty()) {
    for (std::int64_t i = 0; i < window_; ++i) {
      weights[i] = Dot(gate_.data(), tokens + i * channels_, channels_);
    }
    ops.softmax(weights.data(), window_);
  }
  for (std::int64_t i = 0; i < window_; ++i) {
    AddScaled(weights[i], tokens + i * channels_, channels_, pooled);
  }
}

}  // namespace foveate
