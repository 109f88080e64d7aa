#include "runtime/attend_file.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "attention/attention_backward.h"
#include "base/checked.h"
#include "base/throw.h"
#include "format/quant.h"

namespace foveate {
namespace {

using Shape4 = std::array<std::int64_t, 4>;

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// A tensor of the file in memory of its own, aligned (a file need not be), with four axes.
class HeldTensor {
 public:
  HeldTensor(const SafetensorsFile& file, const StoredTensor& tensor) {
    if (tensor.shape.size() != 3 && tensor.shape.size() != 4) {
      Throw(ErrorCode::kInvalidArgument,
            "{}: tensor {} has shape {}, expected [B, H, N, D] or [H, N, D]", file.path(),
            tensor.name, ShapeText(tensor.shape));
    }
    const std::size_t missing = 4 - tensor.shape.size();
    shape_.fill(1);
    for (std::size_t i = missing; i < 4; ++i) shape_[i] = tensor.shape[i - missing];
    switch (tensor.type) {
      case TensorType::kF32: type_ = ElementType::kF32; break;
      case TensorType::kF16: type_ = ElementType::kF16; break;
      case TensorType::kBF16: type_ = ElementType::kBF16; break;
      default:
        Throw(ErrorCode::kUnsupported, "{}: tensor {} is {}, expected F32, F16 or BF16",
              file.path(), tensor.name, TensorTypeName(tensor.type));
    }
    bytes_ = Buffer<std::byte>(std::ssize(tensor.bytes));
    std::memcpy(bytes_.data(), tensor.bytes.data(), tensor.bytes.size());
  }

  const Shape4& shape() const { return shape_; }
  TensorRef<4> ref() const {
    return {bytes_.data(),
            type_,
            shape_,
            {shape_[1] * shape_[2] * shape_[3], shape_[2] * shape_[3], shape_[3], 1}};
  }

 private:
  Buffer<std::byte> bytes_;
  ElementType type_ = ElementType::kF32;
  Shape4 shape_;
};

HeldTensor Required(const SafetensorsFile& file, std::string_view name) {
  const StoredTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) {
    Throw(ErrorCode::kNotFound, "{}: has no tensor '{}' (attention needs q, k and v)", file.path(),
          name);
  }
  return HeldTensor(file, *tensor);
}

// Nothing where the file has neither the tensor nor the one that belongs to it.
std::optional<HeldTensor> Optional(const SafetensorsFile& file, std::string_view name,
                                   std::string_view other) {
  if (file.FindTensor(name) == nullptr && file.FindTensor(other) == nullptr) return std::nullopt;
  return Required(file, name);
}

std::vector<float> Widened(const SafetensorsFile& file, const StoredTensor& tensor) {
  if (!CanDequantize(tensor.type)) {
    Throw(ErrorCode::kUnsupported, "{}: tensor {} is {}, which is no type of numbers known here",
          file.path(), tensor.name, TensorTypeName(tensor.type));
  }
  std::vector<float> values(tensor.elements());
  DequantizeRow(tensor.type, tensor.bytes.data(), values);
  return values;
}

// A bias right-aligned to [B, H, N, M]; three axes would fit [B, N, M] and [H, N, M].
struct Bias {
  std::vector<float> values;
  View<const float, 4> view{};
};
Bias ReadBias(const SafetensorsFile& file) {
  const StoredTensor* tensor = file.FindTensor("bias");
  if (tensor == nullptr) return {};
  const std::size_t rank = tensor->shape.size();
  if (rank == 3 || rank < 1 || rank > 4) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: bias has shape {}, expected [M], [N, M] or [B, H, N, M] (with 1 where it is the "
          "same for all)",
          file.path(), ShapeText(tensor->shape));
  }
  Bias bias{Widened(file, *tensor)};
  if (tensor->type == TensorType::kBool || tensor->type == TensorType::kU8) {
    for (float& value : bias.values) {
      value = value != 0 ? 0.0f : -std::numeric_limits<float>::infinity();
    }
  }
  Shape4 shape{1, 1, 1, 1};
  std::copy(tensor->shape.begin(), tensor->shape.end(), shape.end() - rank);
  bias.view = MakeView<const float>(bias.values.data(), shape[0], shape[1], shape[2], shape[3]);
  return bias;
}

// Every tensor of a call.
struct Call {
  Call(const SafetensorsFile& file, const AttendFileOptions& given, const AttentionSpec& spec)
      : query(Required(file, "q")),
        key(Required(file, "k")),
        value(Required(file, "v")),
        extra_key(Optional(file, "extra_k", "extra_v")),
        extra_value(Optional(file, "extra_v", "extra_k")),
        dout(Optional(file, "dout", "dout")),
        bias(ReadBias(file)) {
    const std::int64_t heads = query.shape()[1];
    options = {.head_patterns = HeadPatterns(spec, 0, heads),
               .scale = given.scale,
               .soft_cap = given.soft_cap,
               .bias = bias.view};
    if (given.alibi) options.alibi_slopes = AlibiSlopes(heads);
    if (const StoredTensor* sink = file.FindTensor("sink")) options.sinks = Widened(file, *sink);
    extra_options = {.scale = given.scale, .soft_cap = given.soft_cap};
  }

  HeldTensor query, key, value;
  std::optional<HeldTensor> extra_key, extra_value, dout;
  Bias bias;
  AttentionOptions options, extra_options;
};

MutableTensorRef<4> RefTo(std::vector<float>& values, const Shape4& shape) {
  return DenseRef(values.data(), {shape[0], shape[1], shape[2], shape[3]});
}

// Merges what every row gets from the extra keys into a result; the sinks are in `result` already.
void AddExtraKeys(Context& context, const Call& call, AttentionScratch& scratch,
                  AttendFileResult& result) {
  const auto [b, h, n, d] = result.shape;
  std::vector<float> out(result.out.size());
  std::vector<float> lse(result.lse.size());
  Attention(context, {call.query.ref(), call.extra_key->ref(), call.extra_value->ref()},
            call.extra_options, scratch, {RefTo(out, result.shape), MakeView(lse.data(), b, h, n)});
  MergeAttention(MakeView<const float>(out.data(), b * h * n, d),
                 MakeView<const float>(lse.data(), b * h * n),
                 MakeView(result.out.data(), b * h * n, d), MakeView(result.lse.data(), b * h * n));
}

NamedTensor GradientOf(std::string name, const Shape4& shape) {
  return {std::move(name),
          {shape.begin(), shape.end()},
          std::vector<float>(shape[0] * shape[1] * shape[2] * shape[3])};
}

MutableTensorRef<4> RefTo(NamedTensor& tensor) {
  Shape4 shape;
  std::copy(tensor.shape.begin(), tensor.shape.end(), shape.begin());
  return RefTo(tensor.values, shape);
}

// Each set of keys by a call of its own, with the out and lse of all; queries get the sum.
void AddGradients(Context& context, const Call& call, AttentionScratch& scratch,
                  AttendFileResult& result) {
  const auto [b, h, n, d] = result.shape;
  const AttentionBackwardInputs inputs{{call.query.ref(), call.key.ref(), call.value.ref()},
                                       DenseRef(std::as_const(result.out).data(), {b, h, n, d}),
                                       MakeView(result.lse.data(), b, h, n),
                                       call.dout->ref()};
  NamedTensor dq = GradientOf("dq", call.query.shape());
  NamedTensor dk = GradientOf("dk", call.key.shape());
  NamedTensor dv = GradientOf("dv", call.value.shape());
  NamedTensor dsink{"d_sink", {h}, std::vector<float>(call.options.sinks.size())};
  AttentionGradients gradients{RefTo(dq), RefTo(dk), RefTo(dv)};
  if (!dsink.values.empty()) gradients.dsinks = MakeView(dsink.values.data(), h);
  AttentionBackward(context, inputs, call.options, scratch, gradients);
  if (call.extra_key) {
    NamedTensor dq_extra = dq;
    NamedTensor dk_extra = GradientOf("d_extra_k", call.extra_key->shape());
    NamedTensor dv_extra = GradientOf("d_extra_v", call.extra_value->shape());
    AttentionBackwardInputs extra = inputs;
    extra.forward.key = call.extra_key->ref();
    extra.forward.value = call.extra_value->ref();
    AttentionBackward(context, extra, call.extra_options, scratch,
                      {RefTo(dq_extra), RefTo(dk_extra), RefTo(dv_extra)});
    for (std::size_t i = 0; i < dq.values.size(); ++i) dq.values[i] += dq_extra.values[i];
    result.gradients = {std::move(dk_extra), std::move(dv_extra)};
  }
  result.gradients.insert(result.gradients.begin(), {dq, dk, dv});
  if (!dsink.values.empty()) result.gradients.push_back(std::move(dsink));
}

}  // namespace

std::vector<float> AlibiSlopes(std::int64_t heads) {
  std::int64_t power = 1;
  while (power * 2 <= heads) power *= 2;
  std::vector<float> slopes;
  for (std::int64_t i = 1; i <= power; ++i) {
    slopes.push_back(static_cast<float>(std::exp2(-8.0 * i / power)));
  }
  for (std::int64_t i = 1; std::ssize(slopes) < heads; i += 2) {
    slopes.push_back(static_cast<float>(std::exp2(-8.0 * i / (2 * power))));
  }
  return slopes;
}

AttendFileResult AttendFile(Context& context, const SafetensorsFile& file,
                            const AttentionSpec& spec, const AttendFileOptions& given) {
  const Call call(file, given, spec);
  const auto [batches, heads, rows, dim] = call.query.shape();
  AttendFileResult result{{batches, heads, rows, call.value.shape()[3]}};
  if (call.dout && call.dout->shape() != result.shape) {
    Throw(ErrorCode::kInvalidArgument, "{}: dout has shape [{}], expected that of out, [{}]",
          file.path(), fmt::join(call.dout->shape(), ", "), fmt::join(result.shape, ", "));
  }
  result.out.resize(batches * heads * rows * result.shape[3]);
  result.lse.resize(batches * heads * rows);
  AttentionScratch scratch;
  Attention(context, {call.query.ref(), call.key.ref(), call.value.ref()}, call.options, scratch,
            {RefTo(result.out, result.shape), MakeView(result.lse.data(), batches, heads, rows)});
  if (call.extra_key) AddExtraKeys(context, call, scratch, result);
  if (call.dout) AddGradients(context, call, scratch, result);
  return result;
}

}  // namespace foveate
