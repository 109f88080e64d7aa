#include "format/gguf.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/checked.h"
#include "base/half.h"
#include "format/quant.h"
#include "tests/format/test_files.h"
#include "tests/support/build_kind.h"
#include "tests/support/gguf_writer.h"

namespace foveate {
namespace {

using nlohmann::json;

std::vector<std::byte> GoldenCase(const json& entry) {
  if (entry["hex"].is_string()) return FromHex(entry["hex"]);
  GgufWriter writer;  // the one case too long to be listed
  EXPECT_EQ(entry["name"], "key_too_long");
  writer.Add("general.architecture", "llama");
  writer.Add(std::string(65536, 'k'), std::uint32_t{1});
  writer.AddTensorF32("a", {8}, std::vector<float>(8, 1.0f));
  return writer.Bytes();
}

TEST(Gguf, GoldenFiles) {
  const json cases = json::parse(std::ifstream(DataPath("gguf_files.json")))["cases"];
  ASSERT_EQ(cases.size(), 59u);
  for (const json& entry : cases) {
    const std::string name = entry["name"];
    const std::vector<std::byte> bytes = GoldenCase(entry);
    std::string error;
    try {
      GgufFile::Parse(bytes, name + ".gguf");
    } catch (const Error& thrown) {
      error = thrown.what();
      EXPECT_TRUE(thrown.code() == ErrorCode::kCorruptFile ||
                  thrown.code() == ErrorCode::kUnsupported)
          << error;
      EXPECT_EQ(error.rfind(name + ".gguf: ", 0), 0u) << error;
    }
    EXPECT_EQ(error.empty() ? "ok" : "error", entry["expect"]) << name << ": " << error;
  }
}

GgufWriter ManyTypes() {
  GgufWriter writer;
  writer.Add("u8", std::uint8_t{200});
  writer.Add("i8", std::int8_t{-100});
  writer.Add("u16", std::uint16_t{60000});
  writer.Add("i16", std::int16_t{-30000});
  writer.Add("u32", std::uint32_t{4000000000});
  writer.Add("i32", std::int32_t{-2000000000});
  writer.Add("u64", std::uint64_t{1} << 63);
  writer.Add("i64", std::int64_t{-1} << 62);
  writer.Add("f32", 0.1f);
  writer.Add("f64", 0.1);
  writer.Add("yes", true);
  writer.Add("no", false);
  writer.Add("text", std::string_view("gr\xc3\xbc\xc3\x9f\n"));
  writer.Add("empty", std::string_view(""));
  writer.Add("ints", std::vector<std::int16_t>{-1, 0, 32767});
  writer.Add("floats", std::vector<float>{1.5f, -INFINITY});
  writer.Add("doubles", std::vector<double>{0.1});
  writer.Add("bools", std::vector<bool>{true, false, true});
  writer.Add("strings", std::vector<std::string>{"", "a", std::string(300, 'b')});
  writer.Add("nothing", std::vector<std::int32_t>{});
  return writer;
}

TEST(Gguf, EveryValueTypeRoundTrips) {
  const auto bytes = ManyTypes().Bytes();
  const GgufFile file = GgufFile::Parse(bytes, "x");
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.file_bytes(), bytes.size());
  EXPECT_EQ(file.metadata().size(), 20u);
  EXPECT_EQ(file.metadata()[2].key, "u16");
  EXPECT_EQ(file.Get<std::uint32_t>("u8"), 200u);
  EXPECT_EQ(file.Get<std::int64_t>("i8"), -100);
  EXPECT_EQ(file.Get<std::uint64_t>("u16"), 60000u);
  EXPECT_EQ(file.Get<std::int64_t>("i16"), -30000);
  EXPECT_EQ(file.Get<std::uint32_t>("u32"), 4000000000u);
  EXPECT_EQ(file.Get<std::int64_t>("i32"), -2000000000);
  EXPECT_EQ(file.Get<std::uint64_t>("u64"), std::uint64_t{1} << 63);
  EXPECT_EQ(file.Get<std::int64_t>("i64"), std::int64_t{-1} << 62);
  EXPECT_EQ(file.Get<float>("f32"), 0.1f);
  EXPECT_EQ(file.Get<double>("f32"), static_cast<double>(0.1f));
  EXPECT_EQ(file.Get<double>("f64"), 0.1);
  EXPECT_EQ(file.Get<float>("f64"), 0.1f);
  EXPECT_EQ(file.Get<bool>("yes"), true);
  EXPECT_EQ(file.Get<bool>("no"), false);
  EXPECT_EQ(file.Get<std::string_view>("text"), "gr\xc3\xbc\xc3\x9f\n");
  EXPECT_EQ(file.Get<std::string_view>("empty"), "");
  EXPECT_EQ(file.Get<std::string_view>("absent"), std::nullopt);
  EXPECT_EQ(file.GetArray<std::int64_t>("ints"), (std::vector<std::int64_t>{-1, 0, 32767}));
  EXPECT_EQ(file.GetArray<double>("floats"), (std::vector<double>{1.5, -INFINITY}));
  EXPECT_EQ(file.GetArray<float>("doubles"), (std::vector<float>{0.1f}));
  EXPECT_EQ(file.GetArray<bool>("bools"), (std::vector<bool>{true, false, true}));
  const std::string long_text(300, 'b');
  EXPECT_EQ(file.GetArray<std::string_view>("strings"),
            (std::vector<std::string_view>{"", "a", long_text}));
  EXPECT_EQ(file.GetArray<std::string_view>("nothing"), std::vector<std::string_view>());
  EXPECT_EQ(file.GetArray<bool>("absent"), std::nullopt);
  EXPECT_EQ(file.Find("ints")->count, 3u);
  EXPECT_EQ(file.Find("ints")->element_type, GgufType::kI16);
  EXPECT_EQ(file.Find("absent"), nullptr);
}

TEST(Gguf, ValuesOfAnotherKindAreRefused) {
  const auto bytes = ManyTypes().Bytes();
  const GgufFile file = GgufFile::Parse(bytes, "x.gguf");
  const auto code = ErrorCode::kCorruptFile;
  ExpectError(code, [&] { file.Get<std::uint32_t>("i8"); }, "x.gguf", "'i8'", "4294967295");
  ExpectError(code, [&] { file.Get<std::int64_t>("u64"); }, "'u64'");
  ExpectError(code, [&] { file.Get<std::uint32_t>("f32"); }, "'f32'", "is f32", "integer");
  ExpectError(code, [&] { file.Get<float>("u32"); }, "'u32'", "float");
  ExpectError(code, [&] { file.Get<bool>("u8"); }, "'u8'", "bool");
  ExpectError(code, [&] { file.Get<std::string_view>("yes"); }, "'yes'", "string");
  ExpectError(code, [&] { file.Get<std::int64_t>("ints"); }, "an array of i16");
  ExpectError(code, [&] { file.GetArray<std::int64_t>("u8"); }, "'u8'", "array");
  ExpectError(code, [&] { file.GetArray<std::string_view>("ints"); }, "'ints'", "string");
  ExpectError(code, [&] { file.GetArray<std::uint32_t>("ints"); }, "'ints'", "element 0");
}

TEST(Gguf, TensorsHaveTheirShapeAndBytes) {
  std::vector<float> values(3 * 64);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::cos(static_cast<float>(i));
  GgufWriter writer;
  writer.SetAlignment(128);
  writer.AddTensorF32("first", {3, 64}, values, TensorType::kQ8_0);
  writer.AddTensorF32("scalar", {}, std::vector<float>{2.5f});
  writer.AddTensorF32("none", {4, 0, 7}, {});
  writer.AddTensorF32("last", {2, 3, 4, 8}, values, TensorType::kF16);
  const auto bytes = writer.Bytes();
  const GgufFile file = GgufFile::Parse(bytes, "x");
  ASSERT_EQ(file.tensors().size(), 4u);
  const StoredTensor& first = *file.FindTensor("first");
  EXPECT_EQ(first.shape, (std::vector<std::int64_t>{3, 64}));
  EXPECT_EQ(first.bytes.size(), 3u * 2 * 34);
  std::vector<std::byte> expected(first.bytes.size());
  QuantizeRow(TensorType::kQ8_0, values, expected.data());
  EXPECT_TRUE(std::ranges::equal(first.bytes, expected));
  EXPECT_EQ((first.bytes.data() - bytes.data()) % 128, 0);
  EXPECT_EQ(file.FindTensor("scalar")->elements(), 1);
  EXPECT_EQ(file.FindTensor("none")->elements(), 0);
  EXPECT_EQ(file.FindTensor("none")->rows(), 0);
  EXPECT_EQ(file.FindTensor("last")->shape, (std::vector<std::int64_t>{2, 3, 4, 8}));
  EXPECT_EQ(file.FindTensor("other"), nullptr);
  EXPECT_TRUE(file.CheckTensors().empty());
}

TEST(Gguf, MessagesNameFieldOffsetAndReason) {
  GgufWriter writer;
  writer.AddTensorF32("blk.3.ffn_up.weight", {4, 64}, std::vector<float>(256));
  auto bytes = writer.Bytes();
  bytes.resize(bytes.size() - 1);
  ExpectError(
      ErrorCode::kCorruptFile, [&] { GgufFile::Parse(bytes, "m.gguf"); },
      "m.gguf: tensor 'blk.3.ffn_up.weight': 1024 bytes at data offset 0 reach past the "
      "end of the file (" +
          std::to_string(bytes.size()) + ")");
  const auto parse = [](const GgufWriter& w) {
    const auto image = w.Bytes();
    GgufFile::Parse(image, "m.gguf");
  };
  for (const auto& [id, name] : std::vector<std::pair<int, std::string>>{{4, "unknown"},
                                                                         {16, "IQ2_XXS"},
                                                                         {29, "IQ1_M"},
                                                                         {36, "unknown"},
                                                                         {41, "Q1_0"},
                                                                         {1001, "unknown"}}) {
    GgufWriter typed;
    typed.AddTensor("odd", {256}, TensorType(id), std::vector<std::byte>(512));
    ExpectError(
        ErrorCode::kUnsupported, [&] { parse(typed); }, "tensor 'odd'",
        "type " + std::to_string(id), name);
  }
  GgufWriter hostile;
  hostile.Add("\x1b[2J\x07 key", std::uint32_t{1});
  hostile.Add("\x1b[2J\x07 key", std::uint32_t{1});
  ExpectError(ErrorCode::kCorruptFile, [&] { parse(hostile); }, "'\\x1b[2J\\x07 key'", "twice");
}

// Every prefix of a small file fails with an error, never with a crash; only losing the padding
// behind the last tensor is forgiven.
TEST(Gguf, EveryTruncationIsRefused) {
  GgufWriter writer = ManyTypes();
  writer.AddTensorF32("a", {5}, std::vector<float>(5));
  const auto bytes = writer.Bytes();
  const GgufFile whole = GgufFile::Parse(bytes, "x");
  const StoredTensor& last = whole.tensors().back();
  const auto needed =
      static_cast<std::size_t>(last.bytes.data() + last.bytes.size() - bytes.data());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> part(bytes.begin(), bytes.begin() + size);
    if (size >= needed) {
      EXPECT_NO_THROW(GgufFile::Parse(part, "x"));
    } else {
      EXPECT_THROW(GgufFile::Parse(part, "x"), Error) << size;
    }
  }
}

TEST(Gguf, CheckTensorsFindsBadNumbers) {
  std::vector<float> values(3 * 256, 1.0f);
  GgufWriter writer;
  writer.AddTensorF32("good", {3, 256}, values, TensorType::kQ4_1);
  const auto add_broken = [&](const char* name, TensorType type, std::size_t at, float scale) {
    const TensorTypeInfo& info = *FindTensorType(type);
    std::vector<std::byte> bytes(3 * 256 / info.block_values * info.block_bytes);
    const Half half = ToHalf(scale);
    std::memcpy(bytes.data() + bytes.size() / 3 + at, &half, 2);  // in row 1
    writer.AddTensor(name, {3, 256}, type, bytes);
  };
  add_broken("q4_0", TensorType::kQ4_0, 0, NAN);
  add_broken("q5_1 minimum", TensorType::kQ5_1, 2, INFINITY);
  add_broken("q3_k", TensorType::kQ3_K, 108, -INFINITY);
  add_broken("q4_k minimum", TensorType::kQ4_K, 2, NAN);
  add_broken("q6_k", TensorType::kQ6_K, 208, INFINITY);
  add_broken("denormal", TensorType::kQ8_0, 0, 6e-8f);
  values[256] = NAN;
  values[513] = INFINITY;
  writer.AddTensorF32("f32", {3, 256}, values);
  const auto bytes = writer.Bytes();
  const std::vector<std::string> findings = GgufFile::Parse(bytes, "x").CheckTensors();
  ASSERT_EQ(findings.size(), 6u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_NE(findings[i].find("1 of 3 rows, first in row 1"), std::string::npos) << findings[i];
  }
  EXPECT_EQ(findings[5], "tensor 'f32': NaN or infinite numbers in 2 of 3 rows, first in row 1");
}

TEST(Gguf, OddFilesOnDisk) {
  const TempFolder folder;
  ExpectError(ErrorCode::kNotFound, [&] { GgufFile::Open(folder / "absent.gguf"); }, "absent.gguf");
  ExpectError(ErrorCode::kIo, [&] { GgufFile::Open(folder / ""); });
  for (const std::size_t size : {0, 1, 3, 4, 7}) {
    const std::string path = folder / ("short" + std::to_string(size) + ".gguf");
    WriteBytes(path, ToBytes(std::string("GGUF\3\0\0", 7).substr(0, size)));
    ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(path); }, path);
  }
  if (geteuid() != 0) {  // root reads everything
    const std::string path = folder / "unreadable.gguf";
    WriteBytes(path, ManyTypes().Bytes());
    chmod(path.c_str(), 0);
    ExpectError(ErrorCode::kIo, [&] { GgufFile::Open(path); }, path);
  }
}

TEST(Gguf, SparseFileOfFourGigabytes) {
  const TempFolder folder;
  const std::string path = folder / "sparse.gguf";
  GgufWriter writer;
  writer.AddTensor("huge", {1 << 20, 2048}, TensorType::kF16, {});
  const auto header = writer.Bytes();
  WriteBytes(path, header);
  ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(path); }, "'huge'", "4294967296");
  const std::uint64_t size = RoundUp<std::uint64_t>(header.size(), 32) + (std::uint64_t{1} << 32);
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(size)), 0);
  const std::clock_t start = std::clock();  // of this process: other programs do not count
  const GgufFile file = GgufFile::Open(path);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, kEmulated ? 0.5 : 0.01);
  EXPECT_EQ(file.file_bytes(), size);
  EXPECT_EQ(file.tensors()[0].bytes.size(), std::uint64_t{1} << 32);
  EXPECT_EQ(file.tensors()[0].bytes.back(), std::byte{0});
  file.Release(file.tensors()[0]);
}

TEST(Gguf, VocabularyOfAQuarterMillionStrings) {
  std::vector<std::string> tokens(262144);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = "token " + std::to_string(i);
  GgufWriter writer;
  writer.Add("tokenizer.ggml.tokens", tokens);
  const auto bytes = writer.Bytes();
  const auto views =
      GgufFile::Parse(bytes, "x").GetArray<std::string_view>("tokenizer.ggml.tokens");
  ASSERT_EQ(views->size(), tokens.size());
  EXPECT_TRUE(std::ranges::equal(*views, tokens));
  // Views into the file, not copies.
  EXPECT_GE(static_cast<const void*>(views->back().data()), static_cast<const void*>(bytes.data()));
}

TEST(Gguf, RealWritersFiles) {
  const GgufFile file = GgufFile::Open(DataPath("tiny_llama.gguf"));
  EXPECT_EQ(file.path(), DataPath("tiny_llama.gguf"));
  EXPECT_EQ(file.Get<std::string_view>("general.architecture"), "llama");
  EXPECT_FALSE(file.tensors().empty());
  EXPECT_TRUE(file.CheckTensors().empty());
  std::uint64_t bytes = 0;
  for (const StoredTensor& tensor : file.tensors()) bytes += tensor.bytes.size();
  EXPECT_LE(bytes, file.file_bytes());
  const GgufFile vocabulary = GgufFile::Open(DataPath("tiny_spm.gguf"));
  EXPECT_TRUE(vocabulary.tensors().empty());
  EXPECT_GT(vocabulary.GetArray<std::string_view>("tokenizer.ggml.tokens")->size(), 100u);
}

}  // namespace
}  // namespace foveate
