#include "tests/support/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "format/quant.h"

namespace foveate {
namespace {

void Pad(std::vector<std::byte>& out, std::uint32_t alignment) {
  while (out.size() % alignment != 0) out.push_back(std::byte{0});
}

void WriteFile(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace

void GgufWriter::AddTensor(std::string name, std::vector<std::int64_t> shape, TensorType type,
                           std::vector<std::byte> bytes) {
  tensors_.push_back({std::move(name), std::move(shape), type, std::move(bytes)});
}

void GgufWriter::AddTensorF32(std::string name, std::vector<std::int64_t> shape,
                              std::span<const float> values, TensorType stored) {
  const TensorTypeInfo* info = FindTensorType(stored);
  const std::int64_t columns = shape.empty() ? 1 : shape.back();
  if (info == nullptr || columns % info->block_values != 0) {
    throw std::invalid_argument(fmt::format("{}: rows of {} cannot be stored as {}", name, columns,
                                            TensorTypeName(stored)));
  }
  const auto blocks = static_cast<std::int64_t>(values.size()) / info->block_values;
  std::vector<std::byte> bytes(static_cast<std::size_t>(blocks * info->block_bytes));
  QuantizeRow(stored, values, bytes.data());
  AddTensor(std::move(name), std::move(shape), stored, std::move(bytes));
}

void GgufWriter::Remove(std::string_view name) {
  std::erase_if(pairs_, [&](const Pair& pair) { return pair.key == name; });
  std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == name; });
}

void GgufWriter::SetAlignment(std::uint32_t alignment) {
  alignment_ = alignment;
  Add("general.alignment", alignment);
}

std::vector<std::byte> GgufWriter::Image(std::span<const Pair> pairs,
                                         std::span<const Tensor> tensors) const {
  std::vector<std::byte> out;
  const auto put = [&out](const auto& value) { Append(out, Packed(value)); };
  for (char letter : {'G', 'G', 'U', 'F'}) put(letter);
  put(std::uint32_t{3});
  put(std::uint64_t{tensors.size()});
  put(std::uint64_t{pairs.size()});
  for (const Pair& pair : pairs) {
    put(pair.key);
    put(static_cast<std::uint32_t>(pair.type));
    Append(out, pair.payload);
  }
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    put(tensor.name);
    put(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) {
      put(static_cast<std::uint64_t>(*extent));  // innermost first in the file
    }
    put(static_cast<std::uint32_t>(tensor.type));
    put(offset);
    offset += (tensor.bytes.size() + alignment_ - 1) / alignment_ * alignment_;
  }
  if (!tensors.empty()) Pad(out, alignment_);
  for (const Tensor& tensor : tensors) {
    Append(out, tensor.bytes);
    Pad(out, alignment_);
  }
  return out;
}

std::vector<std::byte> GgufWriter::Bytes() const { return Image(pairs_, tensors_); }

void GgufWriter::Write(const std::string& path) const { WriteFile(path, Bytes()); }

std::vector<std::string> GgufWriter::WriteShards(const std::string& stem, int shards) const {
  const std::span<const Tensor> all = tensors_;
  std::vector<std::string> paths;
  for (int shard = 0; shard < shards; ++shard) {
    GgufWriter part;
    part.alignment_ = alignment_;
    if (shard == 0) part.pairs_ = pairs_;
    if (shard != 0 && alignment_ != 32) part.Add("general.alignment", alignment_);
    part.Add("split.no", static_cast<std::uint16_t>(shard));
    part.Add("split.count", static_cast<std::uint16_t>(shards));
    part.Add("split.tensors.count", static_cast<std::int32_t>(all.size()));
    const std::size_t begin = all.size() * shard / shards;
    const std::size_t end = all.size() * (shard + 1) / shards;
    paths.push_back(fmt::format("{}-{:05d}-of-{:05d}.gguf", stem, shard + 1, shards));
    WriteFile(paths.back(), Image(part.pairs_, all.subspan(begin, end - begin)));
  }
  return paths;
}

}  // namespace foveate
