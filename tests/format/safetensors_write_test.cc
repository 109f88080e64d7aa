#include <gtest/gtest.h>

#include <fmt/format.h>
#include <algorithm>
#include <filesystem>

#include "format/safetensors.h"
#include "tests/format/test_files.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

constexpr TensorType kTypes[] = {
    TensorType::kBool,    TensorType::kU8,          TensorType::kI8,          TensorType::kI16,
    TensorType::kU16,     TensorType::kF16,         TensorType::kBF16,        TensorType::kI32,
    TensorType::kU32,     TensorType::kF32,         TensorType::kF64,         TensorType::kI64,
    TensorType::kU64,     TensorType::kC64,         TensorType::kF8_E4M3,     TensorType::kF8_E5M2,
    TensorType::kF8_E8M0, TensorType::kF8_E4M3FNUZ, TensorType::kF8_E5M2FNUZ, TensorType::kF6_E2M3,
    TensorType::kF6_E3M2, TensorType::kF4,
};

class SafetensorsWrite : public testing::Test {
 protected:
  StoredTensor Make(const std::string& name, TensorType type, std::vector<std::int64_t> shape) {
    StoredTensor tensor{name, type, std::move(shape), {}};
    const TensorTypeInfo& info = *FindTensorType(type);
    auto& bytes = storage_.emplace_back(tensor.elements() * info.block_bytes / info.block_values);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 37 + storage_.size());
    tensor.bytes = bytes;
    return tensor;
  }

  TempFolder folder_;
  std::vector<std::vector<std::byte>> storage_;
};

TEST_F(SafetensorsWrite, EveryTypeRoundTrips) {
  std::vector<StoredTensor> tensors;
  for (const TensorType type : kTypes) {
    tensors.push_back(Make("t." + std::string(TensorTypeName(type)), type, {3, 4}));
  }
  tensors.push_back(Make("scalar", TensorType::kF32, {}));
  tensors.push_back(Make("empty", TensorType::kI64, {0, 5}));
  tensors.push_back(Make("odd \"\n\xc3\xa9/..", TensorType::kU8, {1}));
  const std::map<std::string, std::string> metadata = {{"a\"b", "1\n2"}, {"note", ""}};
  const std::string path = folder_ / "x.safetensors";
  WriteSafetensors(path, tensors, metadata);
  const SafetensorsFile file = SafetensorsFile::Open(path);
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const StoredTensor& tensor : tensors) {
    const StoredTensor* found = file.FindTensor(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->type, tensor.type) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(found->bytes, tensor.bytes)) << tensor.name;
  }
}

TEST_F(SafetensorsWrite, WidestFirstThenByNameAndPadded) {
  const StoredTensor tensors[] = {Make("b", TensorType::kU8, {3}), Make("d", TensorType::kF16, {1}),
                                  Make("c", TensorType::kI64, {1}),
                                  Make("a", TensorType::kU8, {1})};
  const std::string path = folder_ / "x.safetensors";
  WriteSafetensors(path, tensors);
  const auto bytes = ReadBytes(path);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string header = R"({"c":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("d":{"dtype":"F16","shape":[1],"data_offsets":[8,10]},)"
                             R"("a":{"dtype":"U8","shape":[1],"data_offsets":[10,11]},)"
                             R"("b":{"dtype":"U8","shape":[3],"data_offsets":[11,14]}})";
  EXPECT_EQ(text.substr(8, header.size()), header);
  EXPECT_EQ(static_cast<unsigned char>(text[0]) % 8, 0);
  EXPECT_EQ(text.size(), 8 + (header.size() + 7) / 8 * 8 + 14);
}

TEST_F(SafetensorsWrite, EmptyFileIsReadable) {
  WriteSafetensors(folder_ / "x", {}, {{"only", "metadata"}});
  EXPECT_TRUE(SafetensorsFile::Open(folder_ / "x").tensors().empty());
  WriteSafetensors(folder_ / "x", {});
  EXPECT_TRUE(SafetensorsFile::Open(folder_ / "x").metadata().empty());
}

TEST_F(SafetensorsWrite, RefusalLeavesTheOldFile) {
  const std::string path = folder_ / "x.safetensors";
  WriteSafetensors(path, std::vector{Make("old", TensorType::kU8, {1})});
  StoredTensor tensor = Make("t", TensorType::kF32, {2});
  const auto write = [&] { WriteSafetensors(path, std::vector{tensor}); };
  tensor.shape = {3};
  ExpectError(ErrorCode::kInvalidArgument, write, "'t'", "8 bytes");
  tensor = Make("t", TensorType::kQ4_0, {32});
  ExpectError(ErrorCode::kUnsupported, write, "'t'", "Q4_0");
  tensor = Make("__metadata__", TensorType::kU8, {1});
  ExpectError(ErrorCode::kInvalidArgument, write, "__metadata__");
  tensor = Make("\xff", TensorType::kU8, {1});
  ExpectError(ErrorCode::kInvalidArgument, write, "UTF-8");
  const StoredTensor twice[] = {Make("t", TensorType::kU8, {1}), Make("t", TensorType::kF32, {1})};
  ExpectError(ErrorCode::kInvalidArgument, [&] { WriteSafetensors(path, twice); }, "'t'");
  EXPECT_NE(SafetensorsFile::Open(path).FindTensor("old"), nullptr);
  ExpectError(ErrorCode::kIo, [&] { WriteSafetensors(folder_ / "no/folder", {}); }, "no/folder");
  // Neither success nor failure leaves anything beside the file.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / ""), {}), 1);
}

TEST_F(SafetensorsWrite, FailedRenameRemovesTheTemporaryFile) {
  fs::create_directory(folder_ / "taken");
  ExpectError(ErrorCode::kIo, [&] { WriteSafetensors(folder_ / "taken", {}); }, "taken");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / ""), {}), 1);
}

// ---- Index files ----

class SafetensorsIndex : public SafetensorsWrite {
 protected:
  SafetensorsIndex() {
    WriteSafetensors(folder_ / "m-1.safetensors",
                     std::vector{Make("b", TensorType::kF32, {2}), Make("d", TensorType::kU8, {3})},
                     {{"format", "pt"}});
    WriteSafetensors(folder_ / "m-2.safetensors", std::vector{Make("a", TensorType::kF16, {2}),
                                                              Make("c", TensorType::kU8, {1})});
    Index(R"("a":"m-2.safetensors","b":"m-1.safetensors",)"
          R"("c":"m-2.safetensors","d":"m-1.safetensors")");
  }

  std::string IndexPath() const { return folder_ / "model.safetensors.index.json"; }
  void Index(const std::string& pairs) {
    IndexText(R"({"metadata":{"total_size":16.0,"x":[1]},"weight_map":{)" + pairs + "}}\n");
  }
  void IndexText(const std::string& text) { WriteBytes(IndexPath(), ToBytes(text)); }
  SafetensorsFile Open() const { return SafetensorsFile::Open(IndexPath()); }
};

TEST_F(SafetensorsIndex, OpensAllShards) {
  const SafetensorsFile file = Open();
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_TRUE(std::ranges::equal(file.FindTensor("d")->bytes, storage_[1]));
  EXPECT_TRUE(std::ranges::equal(file.FindTensor("c")->bytes, storage_[3]));
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST_F(SafetensorsIndex, OnlyPlainFileNames) {
  for (const char* name : {"../m-1.safetensors", "/etc/passwd", "sub/m-1.safetensors", "..", ".",
                           "a\\\\b", "C:m-1.safetensors", "", "m\\u0000"}) {
    Index(fmt::format(R"("b":"{}")", name));
    ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "index.json", "'b'", "plain file name");
  }
}

TEST_F(SafetensorsIndex, LinksMustStayInTheFolder) {
  const TempFolder elsewhere;
  fs::rename(folder_ / "m-1.safetensors", elsewhere / "m-1.safetensors");
  fs::create_symlink(elsewhere / "m-1.safetensors", folder_ / "m-1.safetensors");
  ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "m-1.safetensors", "leaves");
  fs::remove(folder_ / "m-1.safetensors");
  fs::rename(elsewhere / "m-1.safetensors", folder_ / "real");
  fs::create_symlink("real", folder_ / "m-1.safetensors");
  EXPECT_EQ(Open().tensors().size(), 4u);
}

TEST_F(SafetensorsIndex, ShardsMustAgreeWithTheMap) {
  Index(R"("a":"m-2.safetensors","b":"m-1.safetensors","c":"m-2.safetensors")");
  ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "'d'", "nowhere");
  Index(R"("a":"m-2.safetensors","b":"m-1.safetensors",)"
        R"("c":"m-1.safetensors","d":"m-1.safetensors")");
  ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "'c'", "m-1.safetensors");
  Index(R"("a":"m-2.safetensors","b":"m-1.safetensors","e":"m-1.safetensors",)"
        R"("c":"m-2.safetensors","d":"m-1.safetensors")");
  ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "'e'", "m-1.safetensors");
  Index(R"("a":"m-3.safetensors")");
  ExpectError(ErrorCode::kNotFound, [&] { Open(); }, "m-3.safetensors");
}

TEST_F(SafetensorsIndex, BadIndexesAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "not JSON"},
      {"[]", "a list"},
      {"7", "a number"},
      {"{}", "no weight_map"},
      {R"({"weight_map":3})", "weight_map is a number"},
      {R"({"weight_map":[]})", "weight_map is a list"},
      {R"({"weight_map":{"a":1}})", "'a': a number"},
      {R"({"weight_map":{"a":{"b":"c"}}})", "'a': an object"},
      {R"({"weight_map":{"a":"x","a":"x"}})", "'a' occurs twice"},
      {R"({"weight_map":{},"weight_map":{}})", "weight_map occurs twice"},
      {R"({"metadata":[[[[[[[[1]]]]]]]]})", "nested deeper"},
  };
  for (const auto& [text, reason] : cases) {
    SCOPED_TRACE(text);
    IndexText(text);
    ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "index.json", reason);
  }
  IndexText(std::string((16 << 20) + 1, ' '));
  ExpectError(ErrorCode::kCorruptFile, [&] { Open(); }, "limit");
}

}  // namespace
}  // namespace foveate
