#include "runtime/attend_file.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "attention/attention.h"
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

// Merges what every row gets from the extra keys into a result; the sinks are in `result` already.
void AddExtraKeys(Context& context, const SafetensorsFile& file, const HeldTensor& query,
                  const AttentionOptions& options, AttentionScratch& scratch,
                  AttendFileResult& result) {
  const HeldTensor keys = Required(file, "extra_k");
  const HeldTensor values = Required(file, "extra_v");
  const auto [b, h, n, d] = result.shape;
  std::vector<float> out(result.out.size());
  std::vector<float> lse(result.lse.size());
  const View<float, 4> out_view = MakeView(out.data(), b, h, n, d);
  const View<float, 3> lse_view = MakeView(lse.data(), b, h, n);
  Attention(context, {query.ref(), keys.ref(), values.ref()},
            {.scale = options.scale, .soft_cap = options.soft_cap}, scratch,
            {RefOf(out_view), lse_view});
  MergeAttention(MakeView<const float>(out.data(), b * h * n, d),
                 MakeView<const float>(lse.data(), b * h * n),
                 MakeView(result.out.data(), b * h * n, d), MakeView(result.lse.data(), b * h * n));
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
  const HeldTensor query = Required(file, "q");
  const HeldTensor key = Required(file, "k");
  const HeldTensor value = Required(file, "v");
  const auto [batches, heads, rows, dim] = query.shape();
  AttentionOptions options{.head_patterns = HeadPatterns(spec, 0, heads),
                           .scale = given.scale,
                           .soft_cap = given.soft_cap};
  if (given.alibi) options.alibi_slopes = AlibiSlopes(heads);
  const Bias bias = ReadBias(file);
  options.bias = bias.view;
  if (const StoredTensor* sink = file.FindTensor("sink")) options.sinks = Widened(file, *sink);

  AttendFileResult result{{batches, heads, rows, value.shape()[3]}};
  const auto [b, h, n, d] = result.shape;
  result.out.resize(b * h * n * d);
  result.lse.resize(b * h * n);
  AttentionScratch scratch;
  Attention(context, {query.ref(), key.ref(), value.ref()}, options, scratch,
            {RefOf(MakeView(result.out.data(), b, h, n, d)), MakeView(result.lse.data(), b, h, n)});
  if (file.FindTensor("extra_k") != nullptr || file.FindTensor("extra_v") != nullptr) {
    AddExtraKeys(context, file, query, options, scratch, result);
  }
  return result;
}

}  // namespace foveate
