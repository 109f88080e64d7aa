// `foveate pull`, `list` and `rm`: models on this machine.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "runtime/model_store.h"

namespace foveate::cli {
namespace {

ModelStore OpenStore() { return ModelStore(ModelStoreOptions::FromEnvironment()); }

ProgressCallback ShowProgress(ProgressBar& bar) {
  return [&bar](const PullProgress& progress) {
    const double done = static_cast<double>(progress.bytes_done);
    const double total = static_cast<double>(progress.bytes_total);
    bar.Update(total > 0 ? done / total : -1,
               total > 0
                   ? fmt::format("{} {} of {}", progress.phase, HumanBytes(done), HumanBytes(total))
                   : fmt::format("{} {}", progress.phase, HumanBytes(done)));
  };
}

int Pull(const std::string& spec, const std::string& sha256) {
  const ModelStore store = OpenStore();
  const KnownModel* known = store.FindKnown(spec);
  if (known != nullptr && !known->terms.empty()) fmt::print(stderr, "{}\n", known->terms);
  ProgressBar bar("pulling " + spec);
  const std::string path =
      store.Pull(spec, {.progress = ShowProgress(bar), .cancel = &Interrupted(), .sha256 = sha256});
  bar.Clear();
  fmt::print("{}\n", path);
  return kExitOk;
}

int List(bool json) {
  const ModelStore store = OpenStore();
  const std::vector<StoredModel> models = store.List();
  if (json) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const StoredModel& model : models) {
      rows.push_back({{"name", model.name},
                      {"path", model.path},
                      {"bytes", model.bytes},
                      {"license", model.license},
                      {"complete", model.complete}});
    }
    PrintJson(rows);
    return kExitOk;
  }
  for (const StoredModel& model : models) {
    fmt::print("{:<12} {:>10}  {:<12} {}{}\n", model.name,
               HumanBytes(static_cast<double>(model.bytes)), model.license, model.path,
               model.complete ? "" : "  (incomplete: pull again)");
  }
  for (const KnownModel& known : store.known()) {
    const bool here = std::any_of(models.begin(), models.end(), [&](const StoredModel& model) {
      return model.name == known.name;
    });
    if (here) continue;
    fmt::print("{:<12} {:>10}  {:<12} not here: foveate pull {}\n", known.name,
               HumanBytes(static_cast<double>(known.bytes)), known.license, known.name);
  }
  return kExitOk;
}

}  // namespace

std::string ResolveModel(const std::string& model) {
  ProgressBar bar("fetching " + model);
  return OpenStore().Resolve(
      model, {.pull = {.progress = ShowProgress(bar), .cancel = &Interrupted(), .sha256 = {}}});
}

void AddPullVerb(CLI::App& app, Work& work) {
  auto spec = std::make_shared<std::string>();
  auto sha256 = std::make_shared<std::string>();
  CLI::App* verb =
      app.add_subcommand("pull", "Fetch a model: a known name or hf:org/repo/file.gguf");
  verb->add_option("model", *spec, "known name (see `foveate list`) or hf:org/repo/file.gguf")
      ->required()
      ->type_name("MODEL");
  verb->add_option("--sha256", *sha256, "the checksum that an hf: file must have");
  verb->footer(
      "hf: files come from https://huggingface.co, or from FOVEATE_HF_HOST if that is set.");
  verb->callback([=, &work] { work = [=] { return Pull(*spec, *sha256); }; });
}

void AddListVerb(CLI::App& app, Work& work) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("list", "Models on this machine, and known ones to pull");
  verb->add_flag("--json", *json, "print one JSON list");
  verb->callback([=, &work] { work = [=] { return List(*json); }; });
}

void AddRmVerb(CLI::App& app, Work& work) {
  auto name = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("rm", "Remove a pulled model");
  verb->add_option("model", *name, "name as `foveate list` shows it")
      ->required()
      ->type_name("MODEL");
  verb->callback([=, &work] {
    work = [=] {
      const std::int64_t freed = OpenStore().Remove(*name);
      fmt::print("removed {} ({})\n", *name, HumanBytes(static_cast<double>(freed)));
      return kExitOk;
    };
  });
}

}  // namespace foveate::cli
