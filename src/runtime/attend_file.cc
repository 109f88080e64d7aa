#include "runtime/attend_file.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "attention/attention_backward.h"
#include "attention/attention_call.h"
#include "base/throw.h"
#include "runtime/attend_tensors.h"
#include "runtime/attend_windows.h"

namespace foveate {
namespace {

constexpr std::int64_t kMostHeads = 65536;

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
  if (tensor->type != TensorType::kBool && tensor->type != TensorType::kU8) {
    CheckFloats(file, *tensor);
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

std::vector<float> ReadSinks(const SafetensorsFile& file, std::int64_t heads) {
  const StoredTensor* tensor = file.FindTensor("sink");
  if (tensor == nullptr) return {};
  if (tensor->shape != std::vector{heads}) {
    Throw(ErrorCode::kInvalidArgument, "{}: sink has shape {}, expected [{}], one for each head",
          file.path(), ShapeText(tensor->shape), heads);
  }
  CheckFloats(file, *tensor);
  return Widened(file, *tensor);
}

// Of keys that every row sees: that of the others, but for their number.
void CheckExtra(const SafetensorsFile& file, const char* name, const Shape4& extra,
                const Shape4& other) {
  Shape4 expected = other;
  expected[2] = extra[2];
  if (extra == expected) return;
  Throw(ErrorCode::kInvalidArgument, "{}: {} has shape [{}], expected [{}, {}, E, {}]", file.path(),
        name, fmt::join(extra, ", "), other[0], other[1], other[3]);
}

// Every tensor of a call.
struct Call {
  Call(Context& context, const SafetensorsFile& file, const AttendFileOptions& given,
       const AttentionSpec& spec)
      : query(RequiredTensor(file, "q")),
        key(RequiredTensor(file, "k")),
        value(RequiredTensor(file, "v")),
        extra_key(OptionalTensor(file, "extra_k", "extra_v")),
        extra_value(OptionalTensor(file, "extra_v", "extra_k")),
        dout(OptionalTensor(file, "dout", "dout")),
        bias(ReadBias(file)) {
    CheckInputs({query.ref(), key.ref(), value.ref()});
    const std::int64_t heads = query.shape()[1];
    if (heads > kMostHeads) {
      Throw(ErrorCode::kLimit, "{}: q has {} heads, expected at most {}", file.path(), heads,
            kMostHeads);
    }
    if (extra_key) {
      CheckExtra(file, "extra_k", extra_key->shape(), key.shape());
      Shape4 values = value.shape();
      values[2] = extra_key->shape()[2];
      CheckExtra(file, "extra_v", extra_value->shape(), values);
      if (extra_value->shape() != values) {
        Throw(ErrorCode::kInvalidArgument, "{}: extra_v has {} tokens and extra_k {}", file.path(),
              extra_value->shape()[2], values[2]);
      }
    }
    CheckHeads(spec.Layer(0), heads);
    options = {.head_patterns = Patterns(context, file, spec),
               .scale = given.scale,
               .soft_cap = given.soft_cap,
               .bias = bias.view};
    if (given.alibi) options.alibi_slopes = AlibiSlopes(heads);
    options.sinks = ReadSinks(file, heads);
    extra_options = {.scale = given.scale, .soft_cap = given.soft_cap};
  }

  // Mechanisms that choose keys by content do so here.
  std::vector<PatternPtr> Patterns(Context& context, const SafetensorsFile& file,
                                   const AttentionSpec& spec) const {
    const std::int64_t batches = query.shape()[0], heads = query.shape()[1];
    if (!HasSelector(spec.Layer(0))) return HeadPatterns(spec, 0, heads);
    if (batches != 1) {
      Throw(ErrorCode::kUnsupported, "{}: q has a batch of {}, {} takes one sequence at a time",
            file.path(), batches, ToText(spec));
    }
    return SelectPatterns(context, spec.Layer(0), *SelectFrom(context, query.ref(), key.ref(), 0));
  }

  HeldTensor query, key, value;
  std::optional<HeldTensor> extra_key, extra_value, dout;
  Bias bias;
  AttentionOptions options, extra_options;
};

MutableTensorRef<4> RefTo(std::vector<float>& values, const Shape4& shape) {
  return DenseRef(values.data(), {shape[0], shape[1], shape[2], shape[3]});
}

// Stored weights, where a bias by relative position or the caller asks for them.
std::optional<AttendWindows> WindowsOf(const SafetensorsFile& file, const AttentionSpec& spec,
                                       const AttendFileOptions& given, const Call& call) {
  if (!given.weights && file.FindTensor("rpb") == nullptr) return std::nullopt;
  if (given.soft_cap > 0 || given.alibi || call.bias.view.data != nullptr ||
      !call.options.sinks.empty()) {
    Throw(ErrorCode::kUnsupported,
          "{}: stored weights (of an rpb, or asked for) go with no soft cap, ALiBi, bias or sink",
          file.path());
  }
  return AttendWindows(file, spec, given.scale, call.query.shape()[1]);
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

// Each set of keys by a call of its own, with the out and lse of all; queries get the sum.
void AddGradients(Context& context, const Call& call, std::optional<AttendWindows>& windows,
                  AttentionScratch& scratch, AttendFileResult& result) {
  const auto [b, h, n, d] = result.shape;
  const AttentionBackwardInputs inputs{{call.query.ref(), call.key.ref(), call.value.ref()},
                                       DenseRef(std::as_const(result.out).data(), {b, h, n, d}),
                                       MakeView(result.lse.data(), b, h, n),
                                       call.dout->ref()};
  NamedTensor dq("dq", call.query.shape()), dk("dk", call.key.shape());
  NamedTensor dv("dv", call.value.shape());
  NamedTensor dsink("d_sink", std::vector<std::int64_t>{std::ssize(call.options.sinks)});
  AttentionGradients gradients{dq.ref(), dk.ref(), dv.ref()};
  if (!dsink.values.empty()) gradients.dsinks = MakeView(dsink.values.data(), h);
  if (windows) {
    windows->Backward(context, inputs, gradients);
  } else {
    AttentionBackward(context, inputs, call.options, scratch, gradients);
  }
  std::vector<NamedTensor> more;
  if (call.extra_key) {
    NamedTensor dq_extra = dq;
    NamedTensor dk_extra("d_extra_k", call.extra_key->shape());
    NamedTensor dv_extra("d_extra_v", call.extra_value->shape());
    AttentionBackwardInputs extra = inputs;
    extra.forward.key = call.extra_key->ref();
    extra.forward.value = call.extra_value->ref();
    AttentionBackward(context, extra, call.extra_options, scratch,
                      {dq_extra.ref(), dk_extra.ref(), dv_extra.ref()});
    for (std::size_t i = 0; i < dq.values.size(); ++i) dq.values[i] += dq_extra.values[i];
    more = {std::move(dk_extra), std::move(dv_extra)};
  }
  if (!dsink.values.empty()) more.push_back(std::move(dsink));
  if (windows && windows->bias_gradient()) more.push_back(*windows->bias_gradient());
  result.gradients = {std::move(dq), std::move(dk), std::move(dv)};
  std::move(more.begin(), more.end(), std::back_inserter(result.gradients));
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
  const Call call(context, file, given, spec);
  const auto [batches, heads, rows, dim] = call.query.shape();
  AttendFileResult result{{batches, heads, rows, call.value.shape()[3]}};
  if (call.dout && call.dout->shape() != result.shape) {
    Throw(ErrorCode::kInvalidArgument, "{}: dout has shape [{}], expected that of out, [{}]",
          file.path(), fmt::join(call.dout->shape(), ", "), fmt::join(result.shape, ", "));
  }
  result.out.resize(batches * heads * rows * result.shape[3]);
  result.lse.resize(batches * heads * rows);
  const AttentionInputs inputs{call.query.ref(), call.key.ref(), call.value.ref()};
  const AttentionOutputs outputs{RefTo(result.out, result.shape),
                                 MakeView(result.lse.data(), batches, heads, rows)};
  AttentionScratch scratch;
  std::optional<AttendWindows> windows = WindowsOf(file, spec, given, call);
  if (windows) {
    windows->Forward(context, inputs, outputs);
    result.weights = windows->weights();
  } else {
    Attention(context, inputs, call.options, scratch, outputs);
  }
  if (call.extra_key) AddExtraKeys(context, call, scratch, result);
  if (call.dout) AddGradients(context, call, windows, scratch, result);
  return result;
}

}  // namespace foveate
