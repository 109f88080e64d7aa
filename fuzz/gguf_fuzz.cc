// Any bytes as a GGUF file: parse, look at every value, check and widen the tensors.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "format/gguf.h"
#include "format/quant.h"
#include "foveate/error.h"

namespace foveate {
namespace {

// Asks for what the value is not, too: that must end in an Error.
template <typename T>
void TryGet(const GgufFile& file, std::string_view key) {
  try {
    file.Get<T>(key);
  } catch (const Error&) {
  }
  try {
    file.GetArray<T>(key);
  } catch (const Error&) {
  }
}

void ReadValues(const GgufFile& file) {
  constexpr std::size_t kPairs = 64;  // enough to meet every kind, without slowing the fuzzer down
  for (const GgufPair& pair :
       std::span(file.metadata()).first(std::min(kPairs, file.metadata().size()))) {
    TryGet<bool>(file, pair.key);
    TryGet<std::uint32_t>(file, pair.key);
    TryGet<std::int64_t>(file, pair.key);
    TryGet<double>(file, pair.key);
    TryGet<std::string_view>(file, pair.key);
  }
}

void ReadTensors(const GgufFile& file) {
  for (const StoredTensor& tensor : file.tensors()) {
    if (file.FindTensor(tensor.name) != &tensor) __builtin_trap();
    if (!CanDequantize(tensor.type) || tensor.elements() > 4096) continue;
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    DequantizeRow(tensor.type, tensor.bytes.data(), values);
  }
  file.CheckTensors();
}

}  // namespace
}  // namespace foveate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto file = foveate::GgufFile::Parse(bytes, "fuzz.gguf");
    foveate::ReadValues(file);
    foveate::ReadTensors(file);
  } catch (const foveate::Error&) {
  }
  return 0;
}
