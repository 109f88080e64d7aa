#include "kernels/layers.h"

#include <fmt/ranges.h>

#include "base/throw.h"
#include "format/quant.h"
#include "kernels/activations.h"
#include "kernels/linear.h"
#include "kernels/vector_ops.h"

namespace foveate {

const StoredTensor& LayerReader::Tensor(const std::string& name) const {
  const StoredTensor* tensor = file_.FindTensor(name);
  if (tensor == nullptr) {
    Throw(ErrorCode::kCorruptFile, "{}: has no tensor '{}'", file_.path(), name);
  }
  return *tensor;
}

void LayerReader::Expect(const StoredTensor& tensor, const std::vector<std::int64_t>& shape) const {
  if (tensor.shape == shape) return;
  Throw(ErrorCode::kCorruptFile, "{}: tensor {} has shape [{}], expected [{}]", file_.path(),
        tensor.name, fmt::join(tensor.shape, ", "), fmt::join(shape, ", "));
}

std::vector<float> LayerReader::Floats(const std::string& name,
                                       const std::vector<std::int64_t>& shape) const {
  const StoredTensor& tensor = Tensor(name);
  Expect(tensor, shape);
  if (!CanDequantize(tensor.type)) {
    Throw(ErrorCode::kUnsupported, "{}: tensor {} is {}, expected F32, F16 or BF16", file_.path(),
          name, TensorTypeName(tensor.type));
  }
  std::vector<float> values(tensor.elements());
  DequantizeRow(tensor.type, tensor.bytes.data(), values);
  return values;
}

PackedMatrix LayerReader::Matrix(const std::string& name,
                                 const std::vector<std::int64_t>& shape) const {
  StoredTensor weight = Tensor(name);
  Expect(weight, shape);
  weight.shape = {shape[0], weight.elements() / shape[0]};
  return PackedMatrix::Pack(context_, weight);
}

LinearLayer LayerReader::Layer(const std::string& name,
                               const std::vector<std::int64_t>& shape) const {
  LinearLayer layer{Matrix(name + ".weight", shape)};
  if (Has(name + ".bias")) layer.bias = Floats(name + ".bias", {shape[0]});
  return layer;
}

LinearLayer LayerReader::Linear(const std::string& name, std::int64_t out, std::int64_t in) const {
  return Layer(name, {out, in});
}

LinearLayer LayerReader::Linear(const std::string& weight, const std::string& bias,
                                std::int64_t out, std::int64_t in) const {
  return {Matrix(weight, {out, in}), Floats(bias, {out})};
}

LinearLayer LayerReader::Convolution(const std::string& name, std::int64_t out,
                                     std::int64_t in) const {
  return Layer(name, {out, in, 3, 3});
}

NormLayer LayerReader::Norm(const std::string& name, std::int64_t channels) const {
  return {Floats(name + ".weight", {channels}), Floats(name + ".bias", {channels})};
}

void Apply(Context& context, const LinearLayer& layer, const View<const float, 2>& x,
           View<float, 2> y) {
  Activations activations;
  activations.Set(context, x, ActivationMode::kF32);
  const LinearTask task{&layer.weight, y};
  Linear(context, activations, {&task, 1});
  if (layer.bias.empty()) return;
  const VectorOps& ops = VectorOpsFor(context.isa());
  context.pool().ForEach(y.shape[0], [&](std::int64_t token, int) {
    ops.add(&y(token, 0), layer.bias.data(), y.shape[1]);
  });
}

void Apply(Context& context, const NormLayer& layer, const View<const float, 2>& x,
           View<float, 2> y) {
  const VectorOps& ops = VectorOpsFor(context.isa());
  context.pool().ForEach(x.shape[0], [&](std::int64_t token, int) {
    ops.layer_norm(&x(token, 0), layer.weight.data(), layer.bias.data(), layer.epsilon, x.shape[1],
                   &y(token, 0));
  });
}

}  // namespace foveate
