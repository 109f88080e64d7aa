// Files and errors for the tests of this room.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "foveate/error.h"

namespace foveate {

inline std::string DataPath(const std::string& name) {
  return std::string(FOVEATE_TEST_DATA) + "/" + name;
}

inline std::vector<std::byte> ToBytes(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::vector<std::byte> ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) ADD_FAILURE() << "cannot read " << path;
  return ToBytes(std::string(std::istreambuf_iterator<char>(file), {}));
}

inline void WriteBytes(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) ADD_FAILURE() << "cannot write " << path;
}

inline std::vector<std::byte> FromHex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// The Error that `action` throws; nothing, and a test failure, when it throws none.
template <typename Action>
std::optional<Error> ErrorOf(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return std::nullopt;
}

// Expects an Error with this code whose message holds every one of `parts`.
template <typename Action, typename... Part>
void ExpectError(ErrorCode code, Action&& action, const Part&... parts) {
  const std::optional<Error> error = ErrorOf(action);
  if (!error) return;
  EXPECT_STREQ(ErrorCodeName(error->code()), ErrorCodeName(code)) << error->what();
  const std::string message = error->what();
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  for (const std::string& part : std::vector<std::string>{parts...}) {
    EXPECT_NE(message.find(part), message.npos) << "'" << part << "' is not in: " << message;
  }
}

// A folder that is gone after the test.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "foveate-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "cannot make a temporary folder";
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace foveate
