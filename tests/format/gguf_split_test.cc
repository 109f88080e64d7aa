#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "format/gguf.h"
#include "tests/format/test_files.h"
#include "tests/support/gguf_writer.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

class GgufSplit : public testing::Test {
 protected:
  GgufSplit() {
    writer_.Add("general.architecture", "llama");
    for (int i = 0; i < 7; ++i) {
      writer_.AddTensorF32("blk." + std::to_string(i) + ".weight", {2, 32},
                           std::vector<float>(64, static_cast<float>(i)), TensorType::kQ4_1);
    }
    paths_ = writer_.WriteShards(folder_ / "model", 3);
  }

  TempFolder folder_;
  GgufWriter writer_;
  std::vector<std::string> paths_;
};

TEST_F(GgufSplit, FirstShardOpensAll) {
  ASSERT_EQ(paths_.size(), 3u);
  const auto whole = writer_.Bytes();
  const GgufFile expected = GgufFile::Parse(whole, "whole");
  const GgufFile file = GgufFile::Open(paths_[0]);
  ASSERT_EQ(file.tensors().size(), 7u);
  for (const StoredTensor& tensor : expected.tensors()) {
    const StoredTensor* found = file.FindTensor(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_TRUE(std::ranges::equal(found->bytes, tensor.bytes)) << tensor.name;
    file.Release(*found);
    EXPECT_TRUE(std::ranges::equal(found->bytes, tensor.bytes)) << tensor.name;
  }
  EXPECT_EQ(file.Get<std::string_view>("general.architecture"), "llama");
  std::uint64_t bytes = 0;
  for (const std::string& path : paths_) bytes += fs::file_size(path);
  EXPECT_EQ(file.file_bytes(), bytes);
  EXPECT_TRUE(file.CheckTensors().empty());
}

TEST_F(GgufSplit, OtherShardNamesTheFirst) {
  ExpectError(
      ErrorCode::kInvalidArgument, [&] { GgufFile::Open(paths_[1]); }, paths_[1], "shard 2 of 3",
      "open the first one, " + paths_[0]);
  fs::rename(paths_[1], folder_ / "renamed.gguf");
  ExpectError(
      ErrorCode::kInvalidArgument, [&] { GgufFile::Open(folder_ / "renamed.gguf"); },
      "shard 2 of 3", "open the first one");
}

TEST_F(GgufSplit, MissingShardIsNamed) {
  fs::remove(paths_[2]);
  ExpectError(ErrorCode::kNotFound, [&] { GgufFile::Open(paths_[0]); }, paths_[2], "shard 3 of 3");
}

TEST_F(GgufSplit, TruncatedShardIsNamed) {
  fs::resize_file(paths_[1], fs::file_size(paths_[1]) - 64);
  ExpectError(
      ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths_[0]); }, paths_[1],
      "past the end of the file");
  fs::resize_file(paths_[1], 0);
  ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths_[0]); }, paths_[1]);
}

TEST_F(GgufSplit, SwappedShardsAreNamed) {
  fs::rename(paths_[1], folder_ / "other");
  fs::rename(paths_[2], paths_[1]);
  fs::rename(folder_ / "other", paths_[2]);
  ExpectError(
      ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths_[0]); }, paths_[1],
      "holds shard 3 of 3, expected shard 2 of 3");
}

TEST_F(GgufSplit, ShardOfAnotherModelIsRefused) {
  const std::vector<std::string> others = writer_.WriteShards(folder_ / "other", 4);
  fs::copy_file(others[1], paths_[1], fs::copy_options::overwrite_existing);
  ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths_[0]); }, paths_[1], "2 of 4");
  GgufWriter whole;  // a file that is no shard at all
  whole.AddTensorF32("x", {8}, std::vector<float>(8));
  whole.Write(paths_[1]);
  ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths_[0]); }, paths_[1]);
}

TEST_F(GgufSplit, JoinedShardsAreRecognised) {
  std::vector<std::byte> joined;
  for (const std::string& path : paths_) {
    const auto part = ReadBytes(path);
    joined.insert(joined.end(), part.begin(), part.end());
  }
  for (const std::string& path : {folder_ / "joined.gguf", paths_[0]}) {
    WriteBytes(path, joined);
    ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(path); }, path, "joined", "separate");
  }
}

TEST_F(GgufSplit, FirstShardUnderAnotherNameExplains) {
  fs::rename(paths_[0], folder_ / "model.gguf");
  ExpectError(
      ErrorCode::kCorruptFile, [&] { GgufFile::Open(folder_ / "model.gguf"); }, "first shard",
      "-00001-of-00003.gguf");
}

TEST_F(GgufSplit, TensorInTwoShardsIsRefused) {
  GgufWriter writer;
  for (int i = 0; i < 2; ++i) writer.AddTensorF32("same", {8}, std::vector<float>(8));
  const auto paths = writer.WriteShards(folder_ / "twice", 2);
  ExpectError(ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths[0]); }, "'same'", "two shards");
}

TEST_F(GgufSplit, WrongTotalIsRefused) {
  auto bytes = ReadBytes(paths_[0]);
  const std::string key = "split.tensors.count";
  const auto at = std::ranges::search(bytes, std::as_bytes(std::span(key)));
  ASSERT_FALSE(at.empty());
  at.end()[4] = std::byte{8};  // behind the u32 type: the value's lowest byte
  WriteBytes(paths_[0], bytes);
  ExpectError(
      ErrorCode::kCorruptFile, [&] { GgufFile::Open(paths_[0]); }, "hold 7 tensors",
      "split.tensors.count is 8");
}

}  // namespace
}  // namespace foveate
