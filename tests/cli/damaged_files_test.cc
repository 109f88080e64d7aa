// Model files as a broken disk, a cut download or a bad converter leave them: the program ends with
// one line that names the file, the place in it, and what was found or expected there.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/cli/cli_fixture.h"
#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

class DamagedFiles : public CliTest {
 protected:
  void ExpectRefused(const std::string& command, const std::string& path,
                     const std::string& message) const {
    const std::string line = Refusal(command);
    EXPECT_EQ(line.find("foveate: " + path + ": "), 0u) << line;
    EXPECT_NE(line.find(message), std::string::npos) << line;
  }

  std::string Store(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }
};

template <typename T>
void Put(std::string& image, std::size_t at, T value) {
  ASSERT_LE(at + sizeof(value), image.size());
  std::memcpy(image.data() + at, &value, sizeof(value));
}

// Where the directory entry of a matrix holds its extents, type and offset.
constexpr std::size_t kTypeAt = 4 + 2 * 8, kOffsetAt = kTypeAt + 4;
std::size_t AfterName(const std::string& image, const std::string& tensor) {
  return image.find(tensor) + tensor.size();
}

TEST_F(DamagedFiles, GgufBytes) {
  const std::string whole = Slurp(Path("tiny.gguf"));
  const std::string query = "blk.0.attn_q.weight";
  const std::size_t entry = AfterName(whole, query);
  std::uint64_t offset = 0;
  std::memcpy(&offset, whole.data() + entry + kOffsetAt, sizeof(offset));
  const std::string offset_text = std::to_string(offset);
  const std::size_t architecture = whole.find("general.architecture") + 20 + 4;

  struct Case {
    const char* name;
    std::function<void(std::string& image)> damage;
    std::string message;
  };
  const Case cases[] = {
      {"empty", [](auto& image) { image.clear(); }, "magic number needs 4 bytes"},
      {"header_cut", [](auto& image) { image.resize(20); },
       "metadata count needs 8 bytes at offset 16, but the file ends 4 bytes later"},
      {"data_cut", [](auto& image) { image.resize(image.size() - 100); },
       "reach past the end of the file"},
      {"magic", [](auto& image) { image[0] = 'X'; },
       "not a GGUF file: begins with 'XGUF' instead of 'GGUF'"},
      {"version", [](auto& image) { Put(image, 4, std::uint32_t{77}); },
       "GGUF version 77; versions 2 and 3 are read"},
      {"big_endian", [](auto& image) { Put(image, 4, std::uint32_t{3u << 24}); },
       "a big-endian GGUF file; only little-endian ones are read"},
      {"counts", [](auto& image) { Put(image, 8, std::uint64_t{1} << 60); },
       "tensor count 1152921504606846976 is over the limit of 1000000"},
      {"string_length", [&](auto& image) { Put(image, architecture, std::uint64_t{1} << 20); },
       "metadata 'general.architecture': string needs 1048576 bytes at offset"},
      {"value_type", [&](auto& image) { Put(image, architecture - 4, std::uint32_t{13}); },
       "metadata 'general.architecture': unknown value type 13"},
      {"offset_far", [&](auto& image) { Put(image, entry + kOffsetAt, std::uint64_t{1} << 40); },
       "tensor '" + query + "': data offset 1099511627776, expected " + offset_text},
      {"offset_misaligned", [&](auto& image) { Put(image, entry + kOffsetAt, offset + 1); },
       "tensor '" + query + "': data offset " + std::to_string(offset + 1) + ", expected " +
           offset_text},
      {"tensor_type", [&](auto& image) { Put(image, entry + kTypeAt, std::uint32_t{99}); },
       "tensor '" + query + "': type 99 (unknown) is not supported"},
      {"tensor_twice",
       [&](auto& image) { image[AfterName(image, "blk.0.attn_k.weight") - 8] = 'q'; },
       "tensor '" + query + "': the name occurs twice"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::string image = whole;
    c.damage(image);
    const std::string path = Store(std::string(c.name) + ".gguf", image);
    for (const std::string& command :
         {"run " + path + " -p x", "tokenize " + path + " x", "inspect " + path}) {
      ExpectRefused(command, path, c.message);
    }
  }
}

TEST_F(DamagedFiles, KeysTensorsAndTemplates) {
  struct Case {
    const char* name;
    std::function<void(GgufWriter& writer)> damage;
    const char* message;
  };
  const auto with_template = [](const char* source) {
    return [=](GgufWriter& writer) { writer.Add("tokenizer.chat_template", source); };
  };
  const Case cases[] = {
      {"key_missing", [](auto& writer) { writer.Remove("llama.block_count"); },
       "'llama.block_count' is missing"},
      {"key_type",
       [](auto& writer) {
         writer.Remove("llama.block_count");
         writer.Add("llama.block_count", "two");
       },
       "metadata 'llama.block_count': is string, expected an integer"},
      {"key_twice", [](auto& writer) { writer.Add("llama.block_count", std::uint32_t{2}); },
       "metadata 'llama.block_count': the key occurs twice"},
      {"tensor_missing", [](auto& writer) { writer.Remove("blk.1.ffn_up.weight"); },
       "tensor 'blk.1.ffn_up.weight' is missing"},
      {"tensor_shape",
       [](auto& writer) {
         writer.Remove("blk.1.ffn_norm.weight");
         writer.AddTensorF32("blk.1.ffn_norm.weight", {32}, std::vector<float>(32));
       },
       "tensor 'blk.1.ffn_norm.weight' has extents [32], expected [64]"},
      {"template_cut", with_template("{% for message in messages %}{{ message"),
       "chat template line 1: "},
      {"template_cycle", with_template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
       "chat template line 1: "},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    GgufWriter writer = MakeTinyModel({.context = 128});
    c.damage(writer);
    const std::string path = Path(std::string(c.name) + ".gguf");
    writer.Write(path);
    ExpectRefused("run " + path + " -p x", path, c.message);
  }
}

TEST_F(DamagedFiles, MissingShardsAreNamed) {
  const std::vector<std::string> paths = MakeTinyModel({}).WriteShards(Path("split"), 3);
  ExpectRefused("run " + paths[1] + " -p x", paths[1], "is shard 2 of 3 of a split model");
  std::filesystem::remove(paths[1]);
  ExpectRefused("run " + paths[0] + " -p x", paths[1], "shard 2 of 3");
}

TEST_F(DamagedFiles, Safetensors) {
  const auto file = [](const std::string& header, std::size_t data) {
    std::string bytes(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(bytes.data(), &length, sizeof(length));
    return bytes + header + std::string(data, '\0');
  };
  const auto tensor = [](const std::string& dtype, const std::string& offsets) {
    return R"({"w":{"dtype":")" + dtype + R"(","shape":[2],"data_offsets":)" + offsets + "}}";
  };
  struct Case {
    const char* name;
    std::string bytes, message;
  };
  const Case cases[] = {
      {"short", "abc", "3 bytes are too short for a safetensors file"},
      {"header", std::string(8, '\x7f') + "{}", "past the end of the file"},
      {"json", file("{\"w\":", 0), "not one JSON object"},
      {"cut", file(tensor("F32", "[0,8]"), 5), "bytes 0 to 8 are not within the 5 of data"},
      {"hole", file(tensor("F32", "[4,12]"), 12), "starts at 4, expected 0 (hole)"},
      {"size", file(tensor("F32", "[0,4]"), 4), "has 4 bytes, its shape and dtype need 8"},
      {"dtype", file(tensor("F33", "[0,8]"), 8), "F33"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::string path = Store(std::string(c.name) + ".safetensors", c.bytes);
    ExpectRefused("inspect " + path, path, c.message);
  }
  const std::string index = Store("model.safetensors.index.json",
                                  R"({"weight_map":{"w":"model-00001-of-00002.safetensors"}})");
  ExpectRefused("inspect " + index, index, "shard 'model-00001-of-00002.safetensors'");
}

}  // namespace
}  // namespace foveate
