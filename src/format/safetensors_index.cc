#include "format/safetensors_index.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/throw.h"
#include "format/json_events.h"
#include "format/printable.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxIndexBytes = std::size_t{16} << 20;

bool IsPlainName(std::string_view name) {
  return !name.empty() && name != "." && name.find("..") == name.npos &&
         name.find_first_of(std::string_view("/\\:\0", 4)) == name.npos;
}

// Keeps the pairs of the top-level object "weight_map" and ignores its neighbours.
class IndexReader : public JsonEvents {
 public:
  explicit IndexReader(const std::string& file) : file_(file) {}

  std::map<std::string, std::string> weight_map;
  bool seen_map = false;

 private:
  template <typename... Args>
  [[noreturn]] void Corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    Throw(ErrorCode::kCorruptFile, "{}: {}", file_,
          fmt::format(format, std::forward<Args>(args)...));
  }

  void OnOpen(bool object) override {
    if (depth() == 1 && !object) Corrupt("a list, expected an object with a weight_map");
    if (depth() == 2 && in_map_ && !object) Corrupt("weight_map is a list, expected an object");
    if (depth() > 2 && in_map_) OnOther(object ? "an object" : "a list");
  }
  void OnClose() override {
    if (depth() == 2) in_map_ = false;
  }
  void OnKey(std::string& key) override {
    if (depth() == 1) {
      in_map_ = key == "weight_map";
      if (in_map_ && std::exchange(seen_map, true)) Corrupt("weight_map occurs twice");
    } else if (in_map_) {
      tensor_ = std::move(key);
    }
  }
  void OnString(std::string& value) override {
    if (!in_map_ || depth() < 2) return OnOther("a string");
    if (!IsPlainName(value)) {
      Corrupt("tensor '{}': '{}' is not a plain file name", Printable(tensor_), Printable(value));
    }
    if (!weight_map.emplace(tensor_, std::move(value)).second) {
      Corrupt("tensor '{}' occurs twice", Printable(tensor_));
    }
  }
  void OnUnsigned(std::uint64_t) override { OnOther("a number"); }
  void OnOther(const char* what) override {
    if (depth() == 0) Corrupt("{}, expected an object with a weight_map", what);
    if (!in_map_) return;
    if (depth() == 1) Corrupt("weight_map is {}, expected an object", what);
    Corrupt("tensor '{}': {}, expected a file name", Printable(tensor_), what);
  }

  const std::string& file_;
  std::string tensor_;
  bool in_map_ = false;
};

}  // namespace

std::map<std::string, std::string> ParseSafetensorsIndex(std::span<const std::byte> json,
                                                         const std::string& file) {
  if (json.size() > kMaxIndexBytes) {
    Throw(ErrorCode::kCorruptFile, "{}: {} bytes are over the limit of {} for an index", file,
          json.size(), kMaxIndexBytes);
  }
  IndexReader reader(file);
  reader.Read(json, file);
  if (!reader.seen_map) Throw(ErrorCode::kCorruptFile, "{}: no weight_map", file);
  return std::move(reader.weight_map);
}

std::string ResolveShard(const std::string& index_path, const std::string& name) {
  std::error_code error;
  const fs::path folder = fs::canonical(fs::absolute(index_path).parent_path(), error);
  const fs::path shard = error ? fs::path() : fs::canonical(folder / name, error);
  if (error) {
    Throw(error == std::errc::no_such_file_or_directory ? ErrorCode::kNotFound : ErrorCode::kIo,
          "{}: shard '{}': {}", index_path, Printable(name), error.message());
  }
  if (shard.parent_path() != folder) {
    Throw(ErrorCode::kCorruptFile, "{}: shard '{}' is a link that leaves the model's folder",
          index_path, Printable(name));
  }
  return shard.string();
}

}  // namespace foveate
