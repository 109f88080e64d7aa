// What the tests of fetching share: a folder of their own, settings of the environment for one
// test, and the error that a call throws.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "foveate/error.h"
#include "runtime/sha256.h"

namespace foveate {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = testing::TempDir() + "foveate-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

  // Paths of all files and folders below, relative, sorted.
  std::vector<std::string> Entries() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
      names.push_back(entry.path().lexically_relative(path_));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

// Sets (or, without a value, unsets) environment variables; restores them at its end.
class ScopedEnvironment {
 public:
  struct Setting {
    std::string name;
    std::optional<std::string> value;
  };
  ScopedEnvironment(std::initializer_list<Setting> settings) {
    for (const Setting& setting : settings) {
      const char* old = std::getenv(setting.name.c_str());
      old_.push_back(
          {setting.name, old == nullptr ? std::nullopt : std::optional(std::string(old))});
      Set(setting);
    }
  }
  ~ScopedEnvironment() {
    for (auto setting = old_.rbegin(); setting != old_.rend(); ++setting) Set(*setting);
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  static void Set(const Setting& setting) {
    if (setting.value) {
      setenv(setting.name.c_str(), setting.value->c_str(), 1);
    } else {
      unsetenv(setting.name.c_str());
    }
  }
  std::vector<Setting> old_;
};

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteText(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string Sha256Of(const std::string& text) {
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(text)));
  return hash.HexDigest();
}

// `bytes` bytes that begin like a model file; different for each seed.
inline std::string ModelBytes(std::size_t bytes, unsigned seed = 1) {
  std::string text = "GGUF";
  while (text.size() < bytes) {
    seed = seed * 1664525u + 1013904223u;
    text += static_cast<char>(seed >> 24);
  }
  return text;
}

// The Error that `call` throws; fails the test when it throws none.
template <typename Call>
Error ErrorOf(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "expected an Error";
  return {ErrorCode::kNumerical, "none"};
}

inline testing::AssertionResult Mentions(const Error& error, const std::string& text) {
  if (std::string(error.what()).find(text) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "\"" << error.what() << "\" does not mention " << text;
}

}  // namespace foveate
