// Where models live on this machine, and how they get there.
//
//   ModelStore store(ModelStoreOptions::FromEnvironment());
//   std::string path = store.Resolve("smollm2", {});    // fetched first if need be
//   for (const StoredModel& model : store.List()) ...
//
// A model is named by a path, by a known name ("smollm2"), or by "hf:org/repo/file.gguf". Fetched
// ones lie in <cache>/models: <name>/<file>, hf/<org>/<repo>/<file>.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/hf_spec.h"
#include "runtime/known_models.h"
#include "runtime/pull_monitor.h"

namespace foveate {

// $XDG_CACHE_HOME/foveate, or ~/.cache/foveate. Throws Error(kInvalidArgument) when neither
// XDG_CACHE_HOME nor HOME names an absolute path.
std::string DefaultCacheFolder();

struct ModelStoreOptions {
  std::string cache_folder = {};
  std::string hf_host = "https://huggingface.co";
  std::string ca_file = {};  // certificates to trust over HTTPS; empty: the system's
  std::vector<KnownModel> known = KnownModels();

  // The default cache folder, FOVEATE_HF_HOST and SSL_CERT_FILE.
  static ModelStoreOptions FromEnvironment();
};

struct PullOptions {
  ProgressCallback progress = {};             // called in the calling thread
  const std::atomic<bool>* cancel = nullptr;  // set it to stop: Error(kCancelled)
  std::string sha256 = {};  // expected of an hf: file; empty: as the server states
};

struct ResolveOptions {
  bool allow_fetch = true;  // false: a model that is not here is an error
  PullOptions pull = {};
};

struct StoredModel {
  std::string name;  // as it is resolved: "smollm2", "hf:org/repo/file.gguf"
  std::string path;  // of the (first) file
  std::int64_t bytes = 0;
  std::string license;
  bool complete = false;  // false: an interrupted download
};

class ModelStore {
 public:
  explicit ModelStore(ModelStoreOptions options);

  // The local file that `spec` names. An absent hf: file, or known model without terms to accept,
  // is fetched when that is allowed. Throws Error: kNotFound for a missing file, an absent model
  // (with the command that fetches it) or an unknown name (with the names that there are and the
  // nearest), or what Pull throws.
  std::string Resolve(const std::string& spec, const ResolveOptions& options) const;

  // Fetches a known model or an hf: file unless it is here, intact; returns its path. Of a split
  // model every shard is fetched. A second pull of the same model waits for the first. Throws
  // Error: kNotFound, kIo, kCorruptFile, kCancelled, kInvalidArgument, naming URL, package or file.
  std::string Pull(const std::string& spec, const PullOptions& options) const;

  // Sorted by name.
  std::vector<StoredModel> List() const;

  // Removes a model and what interrupted downloads left of it; returns the bytes freed. Throws
  // Error(kNotFound) when there is nothing of that name.
  std::int64_t Remove(const std::string& name) const;

  const std::vector<KnownModel>& known() const { return options_.known; }
  const KnownModel* FindKnown(const std::string& name) const;  // null when unknown

 private:
  std::string PathOf(const KnownModel& model) const;
  std::string PathOf(const HfSpec& spec, const std::string& file) const;
  bool IsComplete(const KnownModel& model) const;
  bool IsComplete(const HfSpec& spec) const;
  std::string PullKnown(const KnownModel& model, PullMonitor& monitor) const;
  std::string PullHf(const HfSpec& spec, PullMonitor& monitor) const;
  std::vector<StoredModel> ListHf() const;
  void Prune(const std::string& path) const;
  [[noreturn]] void FailUnknown(const std::string& name) const;

  ModelStoreOptions options_;
  std::string models_;  // <cache>/models
};

}  // namespace foveate
