#include "format/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/cpu.h"
#include "tests/format/test_files.h"
#include "tests/support/build_kind.h"

namespace foveate {
namespace {

using nlohmann::json;

std::vector<std::byte> Image(const std::string& header, std::size_t data_bytes = 0) {
  std::vector<std::byte> bytes(8 + header.size() + data_bytes);
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

std::vector<std::byte> GoldenCase(const json& entry) {
  if (entry.contains("hex")) return FromHex(entry["hex"]);
  EXPECT_EQ(entry["name"], "deeply_nested_json");
  std::string header;
  for (int i = 0; i < 2000; ++i) header += "{\"a\":";
  return Image(header + "1" + std::string(2000, '}'));
}

TEST(Safetensors, GoldenFiles) {
  const json cases = json::parse(std::ifstream(DataPath("safetensors_files.json")))["cases"];
  ASSERT_EQ(cases.size(), 41u);
  for (const json& entry : cases) {
    const std::string name = entry["name"];
    const std::vector<std::byte> bytes = GoldenCase(entry);
    std::string error;
    try {
      SafetensorsFile::Parse(bytes, name + ".safetensors");
    } catch (const Error& thrown) {
      error = thrown.what();
      EXPECT_EQ(thrown.code(), ErrorCode::kCorruptFile) << error;
      EXPECT_EQ(error.rfind(name + ".safetensors: ", 0), 0u) << error;
    }
    EXPECT_EQ(error.empty() ? "ok" : "error", entry["expect"]) << name << ": " << error;
  }
}

TEST(Safetensors, HandsOutShapesAndBytes) {
  const auto bytes = Image(
      R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
      R"("a\n\u00e9":{"shape":[2,1],"extra":{"x":[[1.5],null]},"dtype":"F32","data_offsets":[3,11]},)"
      R"("__metadata__":{"format":"pt"},"s":{"dtype":"F4","shape":[2,3],"data_offsets":[11,14]}}  )",
      14);
  const SafetensorsFile file = SafetensorsFile::Parse(bytes, "x");
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a\n\xc3\xa9");
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(file.tensors()[0].bytes.data(), bytes.data() + bytes.size() - 11);
  EXPECT_EQ(file.FindTensor("b")->type, TensorType::kU8);
  EXPECT_EQ(file.FindTensor("s")->bytes.size(), 3u);
  EXPECT_EQ(file.FindTensor("c"), nullptr);
  EXPECT_EQ(file.FindTensor("__metadata__"), nullptr);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

struct BadHeader {
  const char* header;
  const char* reason;
};

// What the golden files leave out. Each stands before 4 bytes of data.
TEST(Safetensors, RefusesWithTheReason) {
  const BadHeader cases[] = {
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       "'dtype' occurs twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})",
       "'shape' occurs twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1,"x":1}})", "'x' occurs twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "__metadata__ occurs twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "'k' occurs twice"},
      {R"({"__metadata__":{"k":["1"]}})", "a list, expected a string"},
      {R"({"__metadata__":{"k":null}})", "null, expected a string"},
      {R"({"__metadata__":[]})", "a list where an object was expected"},
      {R"({"a":1})", "'a': a number where an object was expected"},
      {R"({"a":[1]})", "'a': a list where an object was expected"},
      {R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", "field 'dtype': a number"},
      {R"({"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}})", "field 'dtype': a list"},
      {R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", "field 'shape': a number"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", "field 'shape': a list"},
      {R"({"a":{"dtype":"F32","shape":{"x":1},"data_offsets":[0,4]}})", "field 'shape': an object"},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", "field 'shape': a string"},
      {R"({"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}})", "not an integer"},
      {R"({"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,4]}})", "negative"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}})", "64 bits"},
      {R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}})", "limit"},
      {R"({"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})",
       "63 bits"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})",
       "16 extents"},
      {R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}})", "field 'shape': true"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", "holds 1 numbers, expected 2"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})",
       "not within"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", "'data_offsets' is missing"},
      {R"({"a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}})", "not a number of bytes"},
      {R"({"a":{"dtype":"Q4_0","shape":[32],"data_offsets":[0,4]}})", "unknown dtype 'Q4_0'"},
      {R"({"\u001b":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "'\\x1b'"},
      {R"({"a":{"x":[[[[[[[]]]]]]],"dtype":"F32"}})", "nested deeper than 8"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},})", "not JSON"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} {})", "not JSON"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}\n", "padded with spaces"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}\n}", "not JSON"},
      {R"({"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "not JSON"},
      {"", "not one JSON object"},
      {"    ", "not one JSON object"},
  };
  for (const BadHeader& bad : cases) {
    SCOPED_TRACE(bad.header);
    const auto bytes = Image(bad.header, 4);
    ExpectError(
        ErrorCode::kCorruptFile, [&] { SafetensorsFile::Parse(bytes, "x.safetensors"); },
        "x.safetensors: ", bad.reason);
  }
  // A zero byte must not end the text early.
  const auto bytes = Image(std::string("{}\0}", 4));
  ExpectError(
      ErrorCode::kCorruptFile, [&] { SafetensorsFile::Parse(bytes, "x"); }, "text after the value");
  const auto hole = Image(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
                          16);
  ExpectError(
      ErrorCode::kCorruptFile, [&] { SafetensorsFile::Parse(hole, "x.safetensors"); },
      "x.safetensors: tensor 'b': starts at 12, expected 8 (hole)");
}

TEST(Safetensors, GoldenTensorFilesOpen) {
  for (const auto& entry : std::filesystem::directory_iterator(FOVEATE_TEST_DATA)) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsFile file = SafetensorsFile::Open(entry.path().string());
    EXPECT_FALSE(file.tensors().empty()) << entry.path();
  }
}

TEST(Safetensors, MillionTensorsInTwoSeconds) {
  std::string header = "{";
  constexpr int kCount = 1'000'000;
  for (int i = 0; i < kCount; ++i) {
    header += (i == 0 ? "\"" : ",\"") + std::string(34, 'n') + std::to_string(i) +
              R"(":{"dtype":"U8","shape":[],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
  }
  header += "}";
  ASSERT_GT(header.size(), 95'000'000u);
  ASSERT_LE(header.size(), 100'000'000u);
  header.resize(100'000'000, ' ');
  const auto bytes = Image(header, kCount);
  const std::clock_t start = std::clock();  // of this process: other programs do not count
  const SafetensorsFile file = SafetensorsFile::Parse(bytes, "x");
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_EQ(file.tensors().size(), static_cast<std::size_t>(kCount));
  EXPECT_TRUE(!kFullSpeed || seconds < 2.0) << seconds;
}

TEST(Safetensors, SparseFileOfFourGigabytes) {
  const TempFolder folder;
  const std::string path = folder / "sparse.safetensors";
  const auto header =
      Image(R"({"a":{"dtype":"U8","shape":[65536,65536],"data_offsets":[0,4294967296]}})");
  WriteBytes(path, header);
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(header.size() + (std::uint64_t{1} << 32))),
            0);
  const std::int64_t resident = PeakResidentBytes();
  const std::clock_t start = std::clock();  // of this process: other programs do not count
  const SafetensorsFile file = SafetensorsFile::Open(path);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, kEmulated ? 0.5 : 0.01);
  EXPECT_LT(PeakResidentBytes() - resident, 10 << 20);
  EXPECT_EQ(file.FindTensor("a")->bytes.size(), std::uint64_t{1} << 32);
}

TEST(Safetensors, OddFilesOnDisk) {
  const TempFolder folder;
  ExpectError(ErrorCode::kNotFound, [&] { SafetensorsFile::Open(folder / "absent"); }, "absent");
  ExpectError(ErrorCode::kIo, [&] { SafetensorsFile::Open(folder / ""); });
  WriteBytes(folder / "empty", {});
  ExpectError(ErrorCode::kCorruptFile, [&] { SafetensorsFile::Open(folder / "empty"); }, "0 bytes");
}

}  // namespace
}  // namespace foveate
