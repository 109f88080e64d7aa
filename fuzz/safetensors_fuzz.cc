// Any bytes as a safetensors file: parse, and look up every tensor that it hands out.
#include <cstddef>
#include <cstdint>
#include <span>

#include "format/safetensors.h"
#include "foveate/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = foveate::SafetensorsFile::Parse(bytes, "fuzz.safetensors");
    std::size_t total = 0;
    for (const foveate::StoredTensor& tensor : file.tensors()) {
      if (file.FindTensor(tensor.name) != &tensor) __builtin_trap();
      total += tensor.bytes.size();
    }
    if (total > size) __builtin_trap();  // tensors may not share bytes
  } catch (const foveate::Error&) {
  }
  return 0;
}
