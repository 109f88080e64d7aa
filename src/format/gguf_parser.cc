#include "format/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "base/checked.h"
#include "base/throw.h"
#include "format/printable.h"

namespace foveate {
namespace {

constexpr std::uint64_t kMaxStringBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxArrayElements = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxTensors = 1'000'000;
constexpr std::uint64_t kMaxTensorNameBytes = 63;
constexpr std::uint32_t kMaxExtents = 4;
constexpr std::uint32_t kDefaultAlignment = 32;
constexpr char kAlignmentKey[] = "general.alignment";

struct GgufTypeInfo {
  const char* name;
  std::uint64_t bytes;  // 0: the size is in the data
};

constexpr GgufTypeInfo kGgufTypes[] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};
constexpr std::uint32_t kGgufTypeCount = std::size(kGgufTypes);

// Types that other programs write and this one does not read, for a helpful message.
std::optional<std::string_view> KnownForeignType(std::uint32_t id) {
  switch (id) {
    case 16: return "IQ2_XXS";
    case 17: return "IQ2_XS";
    case 18: return "IQ3_XXS";
    case 19: return "IQ1_S";
    case 21: return "IQ3_S";
    case 22: return "IQ2_S";
    case 29: return "IQ1_M";
    case 40: return "NVFP4";
    case 41: return "Q1_0";
    case 42: return "Q2_0";
    default: return std::nullopt;
  }
}

// Reads the file front to back. What is being read is kept as `section_`, `index_` and `name_`, and
// put into words only when something is wrong.
class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  GgufImage Parse();

 private:
  template <typename... Args>
  [[noreturn]] void Corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    Throw(ErrorCode::kCorruptFile, "{}: {}{}", file_, Where(),
          fmt::format(format, std::forward<Args>(args)...));
  }

  // "tensor 'blk.0.attn_q.weight': ", or with a number while the name is not known.
  std::string Where() const {
    if (!name_.empty()) return fmt::format("{} '{}': ", section_, Printable(name_));
    return section_.empty() ? "" : fmt::format("{} {}: ", section_, index_ + 1);
  }

  void Enter(std::string_view section, std::uint64_t index, std::string_view name = {}) {
    section_ = section;
    index_ = index;
    name_ = name;
  }

  std::uint64_t remaining() const { return bytes_.size() - offset_; }

  std::span<const std::byte> Take(std::uint64_t count, const char* what) {
    if (count > remaining()) {
      Corrupt("{} needs {} bytes at offset {}, but the file ends {} bytes later", what, count,
              offset_, remaining());
    }
    const auto taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

  template <typename T>
  T Read(const char* what) {
    T value;
    std::memcpy(&value, Take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view ReadString(std::uint64_t limit, const char* what) {
    const std::size_t start = offset_;
    const auto length = Read<std::uint64_t>(what);
    if (length > limit) {
      Corrupt("{}: length {} at offset {} is over the limit of {} bytes", what, length, start,
              limit);
    }
    const auto text = Take(length, what);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  void ReadHeader();
  void ReadMetadata();
  GgufValue ReadValue();
  GgufType ReadType(const char* what);
  void ReadArray(GgufValue* value);
  void CheckBools(std::span<const std::byte> values) const;
  std::uint32_t Alignment() const;
  void ReadTensors();
  StoredTensor ReadTensor(std::uint64_t* offset);
  std::uint64_t TensorBytes(const StoredTensor& tensor) const;
  void PlaceTensors(const std::vector<std::uint64_t>& offsets);

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::size_t offset_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t pair_count_ = 0;
  std::string_view section_;  // "metadata", "tensor" or, in between, nothing
  std::uint64_t index_ = 0;
  std::string_view name_;
  GgufImage image_;
};

GgufImage Parser::Parse() {
  ReadHeader();
  ReadMetadata();
  ReadTensors();
  return std::move(image_);
}

void Parser::ReadHeader() {
  const auto magic = Take(4, "magic number");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    Corrupt("not a GGUF file: begins with '{}' instead of 'GGUF'",
            Printable({reinterpret_cast<const char*>(magic.data()), magic.size()}));
  }
  image_.version = Read<std::uint32_t>("version");
  if (image_.version != 0 && (image_.version & 0xffff) == 0) {
    Throw(ErrorCode::kUnsupported, "{}: a big-endian GGUF file; only little-endian ones are read",
          file_);
  }
  if (image_.version != 2 && image_.version != 3) {
    Throw(ErrorCode::kUnsupported, "{}: GGUF version {}; versions 2 and 3 are read", file_,
          image_.version);
  }
  tensor_count_ = Read<std::uint64_t>("tensor count");
  pair_count_ = Read<std::uint64_t>("metadata count");
  // The smallest entries: name of one byte, no extents; key of one byte, value of one byte.
  constexpr std::uint64_t kSmallestTensor = 8 + 1 + 4 + 4 + 8, kSmallestPair = 8 + 1 + 4 + 1;
  if (tensor_count_ > std::min(kMaxTensors, remaining() / kSmallestTensor)) {
    Corrupt("tensor count {} is over the limit of {} or does not fit into {} bytes", tensor_count_,
            kMaxTensors, bytes_.size());
  }
  if (pair_count_ > remaining() / kSmallestPair) {
    Corrupt("metadata count {} does not fit into {} bytes", pair_count_, bytes_.size());
  }
}

void Parser::ReadMetadata() {
  for (std::uint64_t i = 0; i < pair_count_; ++i) {
    Enter("metadata", i);
    const std::string_view key = ReadString(kMaxKeyBytes, "key");
    if (key.empty()) Corrupt("empty key at offset {}", offset_);
    Enter("metadata", i, key);
    if (!image_.pair_index.emplace(key, image_.metadata.size()).second) {
      Corrupt("the key occurs twice");
    }
    image_.metadata.push_back({key, ReadValue()});
  }
  Enter("", 0);
}

GgufType Parser::ReadType(const char* what) {
  const auto id = Read<std::uint32_t>(what);
  if (id >= kGgufTypeCount) {
    Corrupt("unknown {} {} at offset {}; known are 0 to {}", what, id, offset_ - 4,
            kGgufTypeCount - 1);
  }
  return static_cast<GgufType>(id);
}

GgufValue Parser::ReadValue() {
  GgufValue value;
  value.type = ReadType("value type");
  value.element_type = value.type;
  if (value.type == GgufType::kArray) {
    ReadArray(&value);
  } else if (value.type == GgufType::kString) {
    value.bytes = std::as_bytes(std::span(ReadString(kMaxStringBytes, "string")));
  } else {
    value.bytes = Take(GgufElementBytes(value.type), "value");
  }
  if (value.element_type == GgufType::kBool) CheckBools(value.bytes);
  return value;
}

void Parser::ReadArray(GgufValue* value) {
  value->element_type = ReadType("array element type");
  if (value->element_type == GgufType::kArray) {
    Throw(ErrorCode::kUnsupported, "{}: {}arrays inside arrays are not read", file_, Where());
  }
  value->count = Read<std::uint64_t>("array length");
  if (value->count > kMaxArrayElements) {
    Corrupt("array length {} is over the limit of {}", value->count, kMaxArrayElements);
  }
  if (value->element_type != GgufType::kString) {
    // No overflow: at most 2^30 elements of 8 bytes.
    value->bytes = Take(value->count * GgufElementBytes(value->element_type), "array");
    return;
  }
  const std::size_t start = offset_;
  for (std::uint64_t i = 0; i < value->count; ++i) ReadString(kMaxStringBytes, "array of strings");
  value->bytes = bytes_.subspan(start, offset_ - start);
}

void Parser::CheckBools(std::span<const std::byte> values) const {
  const auto bad = std::ranges::find_if(values, [](std::byte b) { return b > std::byte{1}; });
  if (bad != values.end()) {
    Corrupt("a bool is {}, expected 0 or 1", std::to_integer<int>(*bad));
  }
}

std::uint32_t Parser::Alignment() const {
  const GgufValue* value = image_.Find(kAlignmentKey);
  if (value == nullptr) return kDefaultAlignment;
  if (value->type != GgufType::kU32) {
    Corrupt("metadata '{}': type {}, expected u32", kAlignmentKey, GgufTypeName(value->type));
  }
  std::uint32_t alignment;
  std::memcpy(&alignment, value->bytes.data(), sizeof(alignment));
  if (!std::has_single_bit(alignment)) {
    Corrupt("metadata '{}': {} is not a power of two", kAlignmentKey, alignment);
  }
  return alignment;
}

void Parser::ReadTensors() {
  std::unordered_set<std::string_view> names;
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < tensor_count_; ++i) {
    Enter("tensor", i);
    const std::string_view name = ReadString(kMaxTensorNameBytes, "name");
    if (name.empty()) Corrupt("empty name at offset {}", offset_);
    Enter("tensor", i, name);
    if (!names.insert(name).second) Corrupt("the name occurs twice");
    offsets.emplace_back();
    image_.tensors.push_back(ReadTensor(&offsets.back()));
    image_.tensors.back().name = name;
  }
  PlaceTensors(offsets);
}

// Extents, type and offset of the directory entry whose name has been read.
StoredTensor Parser::ReadTensor(std::uint64_t* offset) {
  StoredTensor tensor;
  const auto extent_count = Read<std::uint32_t>("number of extents");
  if (extent_count > kMaxExtents) {
    Corrupt("{} extents at offset {}, at most {} are allowed", extent_count, offset_ - 4,
            kMaxExtents);
  }
  std::uint64_t elements = 1;  // of the extents that are not 0, so that no order of them overflows
  for (std::uint32_t i = 0; i < extent_count; ++i) {
    const auto extent = Read<std::uint64_t>("extent");
    const auto product = CheckedMul(elements, std::max<std::uint64_t>(extent, 1));
    if (!product || *product > INT64_MAX) {
      Corrupt("extent {} at offset {}: more elements than 63 bits can count", extent, offset_ - 8);
    }
    elements = *product;
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(extent));
  }
  const auto type = Read<std::uint32_t>("type");
  tensor.type = static_cast<TensorType>(type);
  // Numbers above GGUF's own are the project's names for safetensors types.
  if (tensor.type >= TensorType::kBool || FindTensorType(tensor.type) == nullptr) {
    Throw(ErrorCode::kUnsupported, "{}: {}type {} ({}) is not supported", file_, Where(), type,
          KnownForeignType(type).value_or("unknown"));
  }
  *offset = Read<std::uint64_t>("offset");
  return tensor;
}

std::uint64_t Parser::TensorBytes(const StoredTensor& tensor) const {
  const TensorTypeInfo& type = *FindTensorType(tensor.type);
  if (tensor.columns() % type.block_values != 0) {
    Corrupt("rows of {} values do not fill {} blocks of {}", tensor.columns(), type.name,
            type.block_values);
  }
  const auto blocks = static_cast<std::uint64_t>(tensor.elements() / type.block_values);
  const auto bytes = CheckedMul(blocks, static_cast<std::uint64_t>(type.block_bytes));
  if (!bytes) {
    Corrupt("{} blocks of {} bytes are more than 64 bits can count", blocks, type.block_bytes);
  }
  return *bytes;
}

// Gives each tensor its bytes. The tensors must lie in directory order without gaps, each at the
// next aligned offset: that is what all writers make, and it excludes every overlap.
void Parser::PlaceTensors(const std::vector<std::uint64_t>& offsets) {
  Enter("", 0);
  const std::uint64_t alignment = Alignment();
  const std::uint64_t data_start = RoundUp<std::uint64_t>(offset_, alignment);
  if (data_start > bytes_.size()) {
    if (image_.tensors.empty()) return;  // such a file needs no data section
    Corrupt("the data section would start at {}, past the end of the file ({} bytes)", data_start,
            bytes_.size());
  }
  const auto data = bytes_.subspan(data_start);
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    StoredTensor& tensor = image_.tensors[i];
    Enter("tensor", i, tensor.name);
    if (offsets[i] != expected) {
      Corrupt("data offset {}, expected {} ({})", offsets[i], expected,
              offsets[i] < expected ? "overlap or wrong order" : "gap or wrong order");
    }
    const std::uint64_t bytes = TensorBytes(tensor);
    if (offsets[i] > data.size() || bytes > data.size() - offsets[i]) {
      Corrupt("{} bytes at data offset {} reach past the end of the file ({})", bytes, offsets[i],
              bytes_.size());
    }
    tensor.bytes = data.subspan(offsets[i], bytes);
    // No overflow: both numbers are below the file's size and 2^31.
    expected = RoundUp(offsets[i] + bytes, alignment);
  }
  image_.rest = data.subspan(std::min<std::uint64_t>(expected, data.size()));
}

}  // namespace

const GgufValue* GgufImage::Find(std::string_view key) const {
  const auto found = pair_index.find(key);
  return found == pair_index.end() ? nullptr : &metadata[found->second].value;
}

GgufImage ParseGgufImage(std::span<const std::byte> bytes, const std::string& file) {
  return Parser(bytes, file).Parse();
}

std::string_view NextGgufString(std::span<const std::byte> bytes, std::size_t* offset) {
  std::uint64_t length;
  std::memcpy(&length, bytes.subspan(*offset, sizeof(length)).data(), sizeof(length));
  const auto text = bytes.subspan(*offset + sizeof(length), length);
  *offset += sizeof(length) + length;
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

std::uint64_t GgufElementBytes(GgufType type) {
  return kGgufTypes[static_cast<std::uint32_t>(type)].bytes;
}

const char* GgufTypeName(GgufType type) {
  return kGgufTypes[static_cast<std::uint32_t>(type)].name;
}

}  // namespace foveate
