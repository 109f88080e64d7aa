#include "format/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <list>
#include <optional>
#include <unordered_set>

#include "base/checked.h"
#include "base/throw.h"
#include "format/json_events.h"
#include "format/printable.h"

namespace foveate {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kMaxTensors = 1'000'000;
constexpr std::size_t kMaxRank = 16;

struct Entry {
  StoredTensor tensor;
  std::uint64_t begin = 0, end = 0;  // in the data section
};

// Turns the events of the header into entries.
class HeaderReader : public JsonEvents {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  // A list because it sorts by merging: headers are mostly runs in order, on which the quicksort of
  // a vector with a million names takes several times as long.
  std::list<Entry> entries;
  std::map<std::string, std::string> metadata;

 private:
  enum class Field { kNone, kDtype, kShape, kOffsets, kMetadata, kExtra };

  template <typename... Args>
  [[noreturn]] void Corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    Throw(ErrorCode::kCorruptFile, "{}: tensor '{}': {}", file_, Printable(name_),
          fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void Unexpected(std::string_view what) const {
    if (depth() < 2) {
      Throw(ErrorCode::kCorruptFile, "{}: '{}': {} where an object was expected", file_,
            Printable(name_), what);
    }
    if (in_metadata_) {
      Throw(ErrorCode::kCorruptFile, "{}: __metadata__ '{}': {}, expected a string", file_,
            Printable(field_name_), what);
    }
    Corrupt("field '{}': {} was not expected", Printable(field_name_), what);
  }

  void OnOpen(bool object) override;
  void OnClose() override;
  void OnKey(std::string& key) override;
  void OnString(std::string& value) override;
  void OnUnsigned(std::uint64_t value) override;
  void OnOther(const char* what) override;

  void StartField(std::string& key);
  void StartTensor();
  void FinishTensor();

  const std::string& file_;
  std::string name_;        // the key at depth 1
  std::string field_name_;  // the key at depth 2
  Field field_ = Field::kNone;
  bool in_metadata_ = false, seen_metadata_ = false;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  std::unordered_set<std::string> extra_fields_;  // of this tensor: unknown, so only their names
  std::vector<std::uint64_t> offsets_;
  Entry entry_;
};

void HeaderReader::OnKey(std::string& key) {
  if (depth() == 1) {
    name_ = std::move(key);
  } else if (depth() == 2) {
    StartField(key);
  }
}

void HeaderReader::StartField(std::string& key) {
  const auto first_time = [&](bool* seen) {
    if (*seen) Corrupt("field '{}' occurs twice", key);
    *seen = true;
  };
  if (in_metadata_) {
    field_ = Field::kMetadata;
  } else if (key == "dtype") {
    field_ = Field::kDtype;
    first_time(&seen_dtype_);
  } else if (key == "shape") {
    field_ = Field::kShape;
    first_time(&seen_shape_);
  } else if (key == "data_offsets") {
    field_ = Field::kOffsets;
    first_time(&seen_offsets_);
  } else {
    field_ = Field::kExtra;
    if (!extra_fields_.insert(key).second) Corrupt("field '{}' occurs twice", Printable(key));
  }
  field_name_ = std::move(key);
}

void HeaderReader::OnOpen(bool object) {
  const char* what = object ? "an object" : "a list";
  if (depth() == 1) return;  // the object that the file's first byte announced
  if (depth() == 2) {
    if (!object) {
      Throw(ErrorCode::kCorruptFile, "{}: '{}': a list where an object was expected", file_,
            Printable(name_));
    }
    StartTensor();
  } else if (field_ == Field::kShape || field_ == Field::kOffsets) {
    if (depth() != 3 || object) Unexpected(what);
  } else if (field_ != Field::kExtra) {
    Unexpected(what);
  }
}

void HeaderReader::OnClose() {
  if (depth() == 2) FinishTensor();
}

void HeaderReader::StartTensor() {
  field_ = Field::kNone;
  in_metadata_ = name_ == kSafetensorsMetadata;
  if (in_metadata_) {
    if (seen_metadata_) {
      Throw(ErrorCode::kCorruptFile, "{}: __metadata__ occurs twice", file_);
    }
    seen_metadata_ = true;
    return;
  }
  if (entries.size() == kMaxTensors) {
    Throw(ErrorCode::kCorruptFile, "{}: more than {} tensors", file_, kMaxTensors);
  }
  seen_dtype_ = seen_shape_ = seen_offsets_ = false;
  extra_fields_.clear();
  offsets_.clear();
  entry_ = Entry();
}

void HeaderReader::FinishTensor() {
  if (in_metadata_) return;
  if (!seen_dtype_ || !seen_shape_ || !seen_offsets_) {
    Corrupt("field '{}' is missing", !seen_dtype_   ? "dtype"
                                     : !seen_shape_ ? "shape"
                                                    : "data_offsets");
  }
  if (offsets_.size() != 2) Corrupt("data_offsets holds {} numbers, expected 2", offsets_.size());
  entry_.begin = offsets_[0];
  entry_.end = offsets_[1];
  entry_.tensor.name = std::move(name_);
  entries.push_back(std::move(entry_));
}

void HeaderReader::OnString(std::string& value) {
  if (field_ == Field::kDtype && depth() == 2) {
    const std::optional<TensorType> type = SafetensorsType(value);
    if (!type) Corrupt("unknown dtype '{}'", Printable(value));
    entry_.tensor.type = *type;
  } else if (field_ == Field::kMetadata && depth() == 2) {
    if (!metadata.emplace(field_name_, std::move(value)).second) {
      Throw(ErrorCode::kCorruptFile, "{}: __metadata__ '{}' occurs twice", file_,
            Printable(field_name_));
    }
  } else if (field_ != Field::kExtra || depth() < 2) {
    Unexpected("a string");
  }
}

void HeaderReader::OnUnsigned(std::uint64_t value) {
  if (field_ == Field::kShape && depth() == 3) {
    if (entry_.tensor.shape.size() == kMaxRank) Corrupt("more than {} extents", kMaxRank);
    if (value > INT64_MAX) Corrupt("extent {} is over the limit of {}", value, INT64_MAX);
    entry_.tensor.shape.push_back(static_cast<std::int64_t>(value));
  } else if (field_ == Field::kOffsets && depth() == 3) {
    if (offsets_.size() == 2) Corrupt("data_offsets holds more than 2 numbers");
    offsets_.push_back(value);
  } else if (field_ != Field::kExtra || depth() < 2) {
    Unexpected("a number");
  }
}

void HeaderReader::OnOther(const char* what) {
  if (field_ != Field::kExtra || depth() < 2) Unexpected(what);
}

// Bytes that the shape and the type ask for.
std::uint64_t ExpectedBytes(const StoredTensor& tensor, const std::string& file) {
  const TensorTypeInfo& type = *FindTensorType(tensor.type);
  std::uint64_t elements = 1;  // of the extents that are not 0, so that no order of them overflows
  for (const std::int64_t extent : tensor.shape) {
    const auto product =
        CheckedMul(elements, static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1)));
    if (!product || *product > INT64_MAX) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}': more elements than 63 bits can count", file,
            Printable(tensor.name));
    }
    elements = *product;
  }
  elements = static_cast<std::uint64_t>(tensor.elements());
  const auto bits =
      CheckedMul(elements, static_cast<std::uint64_t>(type.block_bytes * 8 / type.block_values));
  if (!bits || *bits % 8 != 0) {
    Throw(ErrorCode::kCorruptFile, "{}: tensor '{}': {} elements of {} are not a number of bytes",
          file, Printable(tensor.name), elements, type.name);
  }
  return *bits / 8;
}

// Hands each entry its part of `data`, which the entries must cover without hole or overlap.
void PlaceTensors(std::list<Entry>& entries, std::span<const std::byte> data,
                  const std::string& file) {
  entries.sort([](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t expected = 0;
  for (Entry& entry : entries) {
    StoredTensor& tensor = entry.tensor;
    if (entry.begin != expected) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}': starts at {}, expected {} ({})", file,
            Printable(tensor.name), entry.begin, expected,
            entry.begin > expected ? "hole" : "overlap");
    }
    if (entry.end < entry.begin || entry.end > data.size()) {
      Throw(ErrorCode::kCorruptFile,
            "{}: tensor '{}': bytes {} to {} are not within the {} of data", file,
            Printable(tensor.name), entry.begin, entry.end, data.size());
    }
    const std::uint64_t bytes = ExpectedBytes(tensor, file);
    if (entry.end - entry.begin != bytes) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}': has {} bytes, its shape and dtype need {}",
            file, Printable(tensor.name), entry.end - entry.begin, bytes);
    }
    tensor.bytes = data.subspan(entry.begin, bytes);
    expected = entry.end;
  }
  if (expected != data.size()) {
    Throw(ErrorCode::kCorruptFile, "{}: the tensors end at {}, the data at {}", file, expected,
          data.size());
  }
}

std::vector<StoredTensor> SortByName(std::list<Entry> entries, const std::string& file) {
  entries.sort([](const Entry& a, const Entry& b) { return a.tensor.name < b.tensor.name; });
  std::vector<StoredTensor> sorted;
  sorted.reserve(entries.size());
  for (Entry& entry : entries) {
    if (!sorted.empty() && sorted.back().name == entry.tensor.name) {
      Throw(ErrorCode::kCorruptFile, "{}: tensor '{}' occurs twice", file,
            Printable(entry.tensor.name));
    }
    sorted.push_back(std::move(entry.tensor));
  }
  return sorted;
}

// The JSON text without length field and padding, and the data behind it.
struct Parts {
  std::span<const std::byte> json, data;
};

Parts SplitHeader(std::span<const std::byte> bytes, const std::string& file) {
  std::uint64_t length;
  if (bytes.size() < sizeof(length)) {
    Throw(ErrorCode::kCorruptFile, "{}: {} bytes are too short for a safetensors file", file,
          bytes.size());
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  const auto rest = bytes.subspan(sizeof(length));
  if (length > kMaxHeaderBytes || length > rest.size()) {
    Throw(ErrorCode::kCorruptFile,
          "{}: header of {} bytes: over the limit of {} or past the end of the file ({})", file,
          length, kMaxHeaderBytes, bytes.size());
  }
  auto json = rest.first(length);
  while (!json.empty() && json.back() == std::byte{' '}) json = json.first(json.size() - 1);
  // White space that JSON would allow around the object is no part of the format.
  if (json.empty() || json.front() != std::byte{'{'} || json.back() != std::byte{'}'}) {
    Throw(ErrorCode::kCorruptFile, "{}: the header is not one JSON object, padded with spaces only",
          file);
  }
  return {json, rest.subspan(length)};
}

}  // namespace

std::optional<TensorType> SafetensorsType(std::string_view dtype) {
  using enum TensorType;
  struct Named {
    std::string_view dtype;
    TensorType type;
  };
  constexpr Named kTypes[] = {
      {"F32", kF32},
      {"F16", kF16},
      {"BF16", kBF16},
      {"I64", kI64},
      {"I32", kI32},
      {"U8", kU8},
      {"I8", kI8},
      {"BOOL", kBool},
      {"F64", kF64},
      {"I16", kI16},
      {"U16", kU16},
      {"U32", kU32},
      {"U64", kU64},
      {"C64", kC64},
      {"F8_E4M3", kF8_E4M3},
      {"F8_E5M2", kF8_E5M2},
      {"F8_E8M0", kF8_E8M0},
      {"F8_E4M3FNUZ", kF8_E4M3FNUZ},
      {"F8_E5M2FNUZ", kF8_E5M2FNUZ},
      {"F6_E2M3", kF6_E2M3},
      {"F6_E3M2", kF6_E3M2},
      {"F4", kF4},
  };
  const auto* found = std::ranges::find(kTypes, dtype, &Named::dtype);
  return found == std::end(kTypes) ? std::nullopt : std::optional(found->type);
}

SafetensorsImage ParseSafetensorsImage(std::span<const std::byte> bytes, const std::string& file) {
  const Parts parts = SplitHeader(bytes, file);
  HeaderReader reader(file);
  reader.Read(parts.json, file + ": header");
  PlaceTensors(reader.entries, parts.data, file);
  return {SortByName(std::move(reader.entries), file), std::move(reader.metadata)};
}

}  // namespace foveate
