#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>

#include "base/buffer.h"
#include "base/cpu.h"
#include "base/file_memory.h"
#include "base/mapped_file.h"
#include "base/tensor.h"
#include "foveate/error.h"

namespace foveate {
namespace {

namespace fs = std::filesystem;

std::string TempPath(const std::string& name) {
  return (fs::temp_directory_path() / (name + std::to_string(getpid()))).string();
}

TEST(Buffer, IsAlignedAndZeroed) {
  for (std::int64_t size : {1, 7, 1000, 1 << 20, 5 << 20}) {
    Buffer<float> buffer(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kAlignment, 0u);
    EXPECT_TRUE(std::all_of(buffer.begin(), buffer.end(), [](float x) { return x == 0; }));
    buffer[size - 1] = 3;
    Buffer<float> moved = std::move(buffer);
    EXPECT_EQ(moved[size - 1], 3);
    EXPECT_EQ(buffer.size(), 0);
  }
  EXPECT_EQ(Buffer<double>().data(), nullptr);
}

TEST(Buffer, RefusesWhatTheMachineCannotGive) {
  EXPECT_THROW(Buffer<std::byte>(std::int64_t{1} << 60), Error);
}

TEST(Arena, HandsOutAlignedPiecesUntilItIsEmpty) {
  Arena arena(256);
  float* a = arena.New<float>(3);
  float* b = arena.New<float>(16);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b) % kAlignment, 0u);
  EXPECT_GE(b - a, 16);
  EXPECT_THROW(arena.New<float>(64), std::bad_alloc);
  arena.Reset();
  EXPECT_EQ(arena.New<float>(3), a);
}

TEST(View, IndexesByStrides) {
  float data[12] = {};
  for (int i = 0; i < 12; ++i) data[i] = i;
  View<float, 3> view = MakeView(data, 2, 3, 2);
  EXPECT_EQ(view(1, 2, 1), 11);
  view.strides = {2, 4, 1};  // the same numbers, axes 0 and 1 swapped in memory
  EXPECT_EQ(view(1, 2, 1), 11);
  EXPECT_EQ(view(1, 0, 0), 2);
  View<const float, 3> read_only = view;
  EXPECT_EQ(read_only(1, 2, 0), 10);
}

TEST(MappedFile, ShowsTheFile) {
  const std::string path = TempPath("foveate_mapped");
  std::ofstream(path) << std::string(10000, 'x') << "end";
  MappedFile file = MappedFile::Open(path);
  ASSERT_EQ(file.bytes().size(), 10003u);
  EXPECT_EQ(std::memcmp(file.bytes().data() + 10000, "end", 3), 0);
  file.Release(file.bytes());
  EXPECT_EQ(static_cast<char>(file.bytes()[5000]), 'x');  // read again from the file
  fs::remove(path);
}

TEST(MappedFile, NamesWhatCannotBeOpened) {
  try {
    MappedFile::Open("/no/such/file");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(error.what()).find("/no/such/file"), std::string::npos);
  }
  EXPECT_THROW(MappedFile::Open("/"), Error);
  const std::string path = TempPath("foveate_empty");
  std::ofstream{path};
  EXPECT_TRUE(MappedFile::Open(path).bytes().empty());
  fs::remove(path);
}

TEST(Cpu, KnowsTheMachine) {
  EXPECT_EQ(SupportedIsas().front(), Isa::kPortable);
  EXPECT_EQ(ParseIsa("portable"), Isa::kPortable);
  EXPECT_EQ(ParseIsa(IsaName(BestIsa())), BestIsa());
  EXPECT_GE(DefaultThreads(), 1);
  EXPECT_GT(SystemMemory().total_bytes, 1 << 20);
  EXPECT_GT(PeakResidentBytes(), 1 << 20);
}

TEST(Cpu, ForeignAndUnknownInstructionSetsAreErrorsThatListTheOthers) {
#if defined(__x86_64__)
  const char* foreign = "neon";
#else
  const char* foreign = "avx2";
#endif
  for (const auto& [name, code] : {std::pair{foreign, ErrorCode::kUnsupported},
                                   std::pair{"sse9", ErrorCode::kInvalidArgument}}) {
    try {
      ParseIsa(name);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_NE(std::string(error.what()).find("portable"), std::string::npos);
    }
  }
}

TEST(FileMemory, IsZeroedAndLeavesNothingBehind) {
  const fs::path folder = TempPath("file_memory");
  fs::create_directory(folder);
  {
    FileMemory memory(folder, 3 << 20);
    EXPECT_TRUE(fs::is_empty(folder));  // it has no name
    EXPECT_EQ(memory.size(), 3 << 20);
    EXPECT_TRUE(std::all_of(memory.data(), memory.data() + memory.size(),
                            [](std::byte b) { return b == std::byte{0}; }));
    memory.data()[memory.size() - 1] = std::byte{7};
    memory.NotSoon(memory.size());
    memory.WillNeed(memory.size());
    const FileMemory moved = std::move(memory);
    EXPECT_EQ(moved.data()[moved.size() - 1], std::byte{7});
    EXPECT_EQ(memory.data(), nullptr);  // NOLINT(bugprone-use-after-move): that is what is asked
  }
  fs::remove_all(folder);
}

TEST(FileMemory, NamesTheFolderThatHasNoPlace) {
  const auto refusal = [](const std::string& folder, std::int64_t bytes) -> std::string {
    try {
      FileMemory memory(folder, bytes);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refusal("/no/such/folder", 1 << 20).find("/no/such/folder"), std::string::npos);
  const std::string full = refusal(fs::temp_directory_path(), std::int64_t{1} << 50);
  EXPECT_NE(full.find("1125899906842624 bytes"), std::string::npos) << full;
}

}  // namespace
}  // namespace foveate
