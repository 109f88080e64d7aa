#include "tests/text/tokenizer_fixtures.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "base/log.h"
#include "text/byte_bpe.h"
#include "text/utf8.h"

namespace foveate::testing {

TokenId VocabularyParts::Add(std::string piece, TokenType type, float score) {
  pieces.push_back(std::move(piece));
  types.push_back(static_cast<std::int32_t>(type));
  scores.push_back(score);
  return static_cast<TokenId>(pieces.size()) - 1;
}

void VocabularyParts::AddByteTokens() {
  for (int byte = 0; byte < 256; ++byte) Add(fmt::format("<0x{:02X}>", byte), TokenType::kByte);
}

void VocabularyParts::AddByteAlphabet() {
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    AppendUtf8(ByteSpelling(static_cast<unsigned char>(byte)), piece);
    Add(std::move(piece));
  }
}

GgufWriter VocabularyParts::Writer(std::string_view model) const {
  GgufWriter writer;
  writer.Add("tokenizer.ggml.model", model);
  writer.Add("tokenizer.ggml.tokens", pieces);
  writer.Add("tokenizer.ggml.token_type", types);
  if (model == "gpt2") {
    writer.Add("tokenizer.ggml.merges", merges);
  } else {
    writer.Add("tokenizer.ggml.scores", scores);
  }
  return writer;
}

LoadedTokenizer Load(const GgufWriter& writer, std::string_view pre_override) {
  LoadedTokenizer loaded;
  loaded.image = writer.Bytes();
  loaded.tokenizer = Tokenizer::FromGguf(GgufFile::Parse(loaded.image, "test.gguf"), pre_override);
  return loaded;
}

GgufWriter TinyByteBpe() {
  VocabularyParts parts;
  parts.Add("<|endoftext|>", TokenType::kControl);
  parts.Add("<|im_start|>", TokenType::kControl);
  parts.Add("<|im_end|>", TokenType::kControl);
  parts.Add("[img]", TokenType::kUserDefined);
  parts.AddByteAlphabet();
  parts.merges = {"t h", "th e", "Ġ the", "a a", "aa aa", "Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "i n", "in g"};
  for (const std::string& merge : parts.merges) {
    const std::size_t space = merge.find(' ');
    parts.Add(merge.substr(0, space) + merge.substr(space + 1));
  }
  GgufWriter writer = parts.Writer("gpt2");
  writer.Add("tokenizer.ggml.pre", "gpt-2");
  writer.Add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  writer.Add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  return writer;
}

LoadedTokenizer LoadTinySentencePiece() {
  LoadedTokenizer loaded;
  loaded.tokenizer =
      Tokenizer::FromGguf(GgufFile::Open(std::string(FOVEATE_TEST_DATA) + "/tiny_spm.gguf"));
  return loaded;
}

GgufWriter GoldenUnigram() {
  const nlohmann::json golden = ReadGolden("tokenizer_unigram.json");
  VocabularyParts parts;
  for (const auto& piece : golden["pieces"]) {
    parts.Add(piece[0], static_cast<TokenType>(piece[2].get<int>()), piece[1]);
  }
  GgufWriter writer = parts.Writer("t5");
  writer.Add("tokenizer.ggml.add_space_prefix", golden["add_dummy_prefix"].get<bool>());
  writer.Add("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  writer.Add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  return writer;
}

nlohmann::json ReadGolden(const std::string& name) {
  return nlohmann::json::parse(ReadTestFile(name));
}

std::string ReadTestFile(const std::string& name) {
  std::ifstream file(std::string(FOVEATE_TEST_DATA) + "/" + name, std::ios::binary);
  if (!file) throw std::runtime_error("no test data " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::unique_ptr<Tokenizer> LoadCachedModel(const std::string& name_in_cache) {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (xdg == nullptr && home == nullptr) return nullptr;
  const std::string cache = xdg != nullptr ? xdg : std::string(home) + "/.cache";
  const std::string path = cache + "/foveate/models/" + name_in_cache;
  if (!std::filesystem::exists(path)) return nullptr;
  return Tokenizer::FromGguf(GgufFile::Open(path));
}

namespace {

char32_t RandomCharacter(std::mt19937_64& random) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x20, 0x7E},     {0x00, 0x1F},     {0x80, 0x7FF},      {0x800, 0xD7FF},
      {0xE000, 0xFFFF}, {0x2000, 0x206F}, {0x1F300, 0x1FAFF}, {0x10000, 0x10FFFF},
  };
  const auto& range = kRanges[random() % std::size(kRanges)];
  return static_cast<char32_t>(range.first + random() % (range.second - range.first + 1));
}

}  // namespace

std::string RandomUnicode(std::uint64_t seed, std::size_t bytes) {
  std::mt19937_64 random(seed);
  std::string text;
  while (text.size() < bytes) {
    const std::size_t length = 1 + random() % 12;
    switch (random() % 5) {
      case 0: text.append(length, ' '); break;
      case 1: text.append(length, "\n\t\r a"[random() % 5]); break;
      case 2:
        for (std::size_t i = 0; i < length; ++i) text += static_cast<char>('a' + random() % 26);
        break;
      default:
        for (std::size_t i = 0; i < length; ++i) AppendUtf8(RandomCharacter(random), text);
    }
  }
  return text;
}

WarningRecorder::WarningRecorder() {
  SetWarningSink([this](const std::string& line) { lines_.push_back(line); });
}

WarningRecorder::~WarningRecorder() { SetWarningSink({}); }

}  // namespace foveate::testing
