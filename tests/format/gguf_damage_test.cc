// Damaged files: whatever happens to a GGUF on its way, reading it ends in an Error or in a file
// whose tensors lie inside it.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "format/gguf.h"
#include "tests/format/test_files.h"
#include "tests/support/build_kind.h"

namespace foveate {
namespace {

using Bytes = std::vector<std::byte>;

// Flips, cuts, inserts or overwrites, most often near the front, where the structure is.
Bytes Damage(const Bytes& original, std::mt19937& random) {
  Bytes bytes = original;
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  const auto position = [&] { return below(below(bytes.size()) + 1); };
  switch (below(5)) {
    case 0:  // one bit
      bytes[position()] ^= std::byte(1 << below(8));
      break;
    case 1:  // some bytes
      for (std::size_t i = below(8) + 1; i > 0; --i) bytes[position()] = std::byte(below(256));
      break;
    case 2:  // the end is missing
      bytes.resize(below(bytes.size()));
      break;
    case 3: {  // bytes too many
      const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(position());
      bytes.insert(at, below(16) + 1, std::byte(below(256)));
      break;
    }
    default: {  // a count or a length becomes absurd
      constexpr std::uint64_t kAbsurd[] = {0, 1, 0xff, 0x7fffffff, std::uint64_t{1} << 62, ~0ull};
      const std::uint64_t value = kAbsurd[below(std::size(kAbsurd))];
      const std::size_t at = std::min(position(), bytes.size() - sizeof(value));
      std::memcpy(bytes.data() + at, &value, sizeof(value));
    }
  }
  return bytes;
}

// Returns whether the image was accepted.
bool ReadWholly(const Bytes& bytes) {
  try {
    const GgufFile file = GgufFile::Parse(bytes, "damaged.gguf");
    for (const StoredTensor& tensor : file.tensors()) {
      EXPECT_GE(tensor.bytes.data(), bytes.data());
      EXPECT_LE(tensor.bytes.data() + tensor.bytes.size(), bytes.data() + bytes.size());
    }
    file.CheckTensors();
    return true;
  } catch (const Error& error) {
    EXPECT_NE(error.what(), std::string());
    return false;
  }
}

class GgufDamage : public testing::TestWithParam<const char*> {};

TEST_P(GgufDamage, TenThousandVersions) {
  const Bytes original = ReadBytes(DataPath(GetParam()));
  ASSERT_TRUE(ReadWholly(original));
  std::mt19937 random(20240607);
  int refused = 0;
  for (int i = 0; i < 10000 && !HasFailure(); ++i) refused += !ReadWholly(Damage(original, random));
  EXPECT_GT(refused, 1000);  // the damage does reach the structure
  EXPECT_LT(refused, 9999);  // and not every byte is structure
}

// In a child process that may not use more than 64 MiB of addresses beyond what it has: no count in
// a file makes the reader ask for more.
TEST_P(GgufDamage, NeedsLittleMemory) {
  if (kSanitized || kEmulated) GTEST_SKIP() << "addresses are not limited in this build";
  const Bytes original = ReadBytes(DataPath(GetParam()));
  const auto run = [&] {
    constexpr rlim_t kLimit = rlim_t{64} << 20;
    const rlimit limit{kLimit, kLimit};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
    std::mt19937 random(7);
    for (int i = 0; i < 2000; ++i) ReadWholly(Damage(original, random));
    _exit(HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(
    Files, GgufDamage, testing::Values("tiny_llama.gguf", "tiny_spm.gguf"), [](const auto& info) {
      return std::string(info.param).substr(0, std::string(info.param).find('.'));
    });

}  // namespace
}  // namespace foveate
