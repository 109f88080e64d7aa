// Layers of small networks, from files of weights as PyTorch names them, on tokens with their
// channels innermost: then a 1x1 convolution and a linear layer are the same product of matrices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/tensor.h"
#include "format/safetensors.h"
#include "kernels/packed_matrix.h"

namespace foveate {

struct LinearLayer {
  PackedMatrix weight;      // [out, in]
  std::vector<float> bias;  // [out]; empty: none
};

struct NormLayer {
  std::vector<float> weight, bias;  // [channels]
  float epsilon = 1e-5f;
};

// Layers by their names in a file. All throw Error(kCorruptFile) naming file and tensor for one
// that is missing or has another shape than is asked for, kUnsupported for a type without numbers.
class LayerReader {
 public:
  LayerReader(Context& context, const SafetensorsFile& file) : context_(context), file_(file) {}

  bool Has(const std::string& name) const { return file_.FindTensor(name) != nullptr; }
  const StoredTensor& Tensor(const std::string& name) const;
  std::vector<float> Floats(const std::string& name, const std::vector<std::int64_t>& shape) const;

  // NAME.weight and, if it is there, NAME.bias.
  LinearLayer Linear(const std::string& name, std::int64_t out, std::int64_t in) const;
  // Of tensors with other names, both of them there.
  LinearLayer Linear(const std::string& weight, const std::string& bias, std::int64_t out,
                     std::int64_t in) const;
  // Of 3x3 kernels, [out, in, 3, 3], as a linear layer of 9 in channels.
  LinearLayer Convolution(const std::string& name, std::int64_t out, std::int64_t in) const;
  NormLayer Norm(const std::string& name, std::int64_t channels) const;

 private:
  void Expect(const StoredTensor& tensor, const std::vector<std::int64_t>& shape) const;
  PackedMatrix Matrix(const std::string& name, const std::vector<std::int64_t>& shape) const;
  LinearLayer Layer(const std::string& name, const std::vector<std::int64_t>& shape) const;

  Context& context_;
  const SafetensorsFile& file_;
};

// y [tokens, out] = x [tokens, in] W^T + b
void Apply(Context& context, const LinearLayer& layer, const View<const float, 2>& x,
           View<float, 2> y);

// Of every token; y may be x.
void Apply(Context& context, const NormLayer& layer, const View<const float, 2>& x,
           View<float, 2> y);

}  // namespace foveate
