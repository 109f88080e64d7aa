#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/tiny_model.h"

namespace foveate {
namespace {

// token_type codes of GGUF vocabularies.
enum : std::int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUnused = 5, kByte = 6 };

struct Vocabulary {
  std::vector<std::string> pieces;
  std::vector<std::int32_t> types;
  std::vector<float> scores;

  void Add(std::string piece, std::int32_t type, float score = 0) {
    pieces.push_back(std::move(piece));
    types.push_back(type);
    scores.push_back(score);
  }
  void Resize(std::int64_t size) {
    while (static_cast<std::int64_t>(pieces.size()) < size) {
      Add(fmt::format("[unused{}]", pieces.size()), kUnused);
    }
    pieces.resize(size);
    types.resize(size);
    scores.resize(size);
  }
  void Write(GgufWriter& writer) const {
    writer.Add("tokenizer.ggml.tokens", pieces);
    writer.Add("tokenizer.ggml.token_type", types);
  }
};

std::string Utf8(std::uint32_t code) {  // below U+0800
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// How byte-level vocabularies spell a byte: printable Latin-1 as itself, the others, in order, as
// the characters from U+0100 on.
std::string ByteSpelling(int byte) {
  const auto printable = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  };
  if (printable(byte)) return Utf8(byte);
  std::uint32_t code = 0x100;
  for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  return Utf8(code);
}

void AddByteLevel(GgufWriter& writer, std::int64_t size) {
  Vocabulary vocabulary;
  for (const char* piece : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    vocabulary.Add(piece, kControl);
  }
  for (int byte = 0; byte < 256; ++byte) vocabulary.Add(ByteSpelling(byte), kNormal);
  const std::vector<std::string> merges = {"t h", "th e", "Ġ the", "a n", "Ġ an", "e r", "i n"};
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    vocabulary.Add(merge.substr(0, space) + merge.substr(space + 1), kNormal);
  }
  vocabulary.Resize(size);
  writer.Add("tokenizer.ggml.model", "gpt2");
  writer.Add("tokenizer.ggml.pre", "gpt-2");
  vocabulary.Write(writer);
  writer.Add("tokenizer.ggml.merges", merges);
  writer.Add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  writer.Add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  writer.Add("tokenizer.ggml.add_bos_token", false);
}

void AddSentencePiece(GgufWriter& writer, std::int64_t size) {
  Vocabulary vocabulary;
  vocabulary.Add("<unk>", kUnknown);
  vocabulary.Add("<s>", kControl);
  vocabulary.Add("</s>", kControl);
  float score = 0;
  for (const char* piece : {"▁t", "he", "▁the", "▁a", "in", "er", "▁an", "re", "on", "▁"}) {
    vocabulary.Add(piece, kNormal, score -= 1);
  }
  for (int letter = '!'; letter <= '~'; ++letter) {
    vocabulary.Add(std::string(1, static_cast<char>(letter)), kNormal, score -= 1);
  }
  for (int byte = 0; byte < 256; ++byte) vocabulary.Add(fmt::format("<0x{:02X}>", byte), kByte);
  vocabulary.Resize(size);
  writer.Add("tokenizer.ggml.model", "llama");
  writer.Add("tokenizer.ggml.pre", "default");
  vocabulary.Write(writer);
  writer.Add("tokenizer.ggml.scores", vocabulary.scores);
  writer.Add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  writer.Add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  writer.Add("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  writer.Add("tokenizer.ggml.add_bos_token", true);
  writer.Add("tokenizer.ggml.add_space_prefix", true);
}

}  // namespace

void AddTinyTokenizer(GgufWriter& writer, TinyTokenizer tokenizer, std::int64_t size) {
  if (tokenizer == TinyTokenizer::kNone) writer.Add("tokenizer.ggml.model", "no_vocab");
  if (tokenizer == TinyTokenizer::kByteLevel) AddByteLevel(writer, size);
  if (tokenizer == TinyTokenizer::kSentencePiece) AddSentencePiece(writer, size);
}

}  // namespace foveate
