// Any bytes as text, and as ids, on a tiny vocabulary of each kind. The first byte chooses the
// vocabulary and the options.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "format/gguf.h"
#include "foveate/error.h"
#include "text/byte_bpe.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace foveate {
namespace {

constexpr const char* kMark = "\xE2\x96\x81";

// The metadata of a GGUF file without tensors.
class Metadata {
 public:
  void Add(std::string_view key, std::string_view text) {
    Begin(key, GgufType::kString);
    PutText(text);
  }
  void Add(std::string_view key, bool value) {
    Begin(key, GgufType::kBool);
    Put(static_cast<std::uint8_t>(value));
  }
  void Add(std::string_view key, const std::vector<std::string>& texts) {
    BeginArray(key, GgufType::kString, texts.size());
    for (const std::string& text : texts) PutText(text);
  }
  template <typename T>
  void Add(std::string_view key, GgufType type, const std::vector<T>& values) {
    BeginArray(key, type, values.size());
    for (const T value : values) Put(value);
  }

  std::vector<std::byte> Image() const {
    Metadata file;
    for (const char c : {'G', 'G', 'U', 'F'}) file.Put(c);
    file.Put(std::uint32_t{3});
    file.Put(std::uint64_t{0});  // tensors
    file.Put(pairs_);
    file.bytes_.insert(file.bytes_.end(), bytes_.begin(), bytes_.end());
    return file.bytes_;
  }

 private:
  template <typename T>
  void Put(T value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof(T));
  }
  void PutText(std::string_view text) {
    Put(std::uint64_t{text.size()});
    for (const char c : text) Put(c);
  }
  void Begin(std::string_view key, GgufType type) {
    ++pairs_;
    PutText(key);
    Put(static_cast<std::uint32_t>(type));
  }
  void BeginArray(std::string_view key, GgufType type, std::uint64_t count) {
    Begin(key, GgufType::kArray);
    Put(static_cast<std::uint32_t>(type));
    Put(count);
  }

  std::vector<std::byte> bytes_;
  std::uint64_t pairs_ = 0;
};

struct Parts {
  std::vector<std::string> pieces;
  std::vector<std::int32_t> types;
  std::vector<float> scores;

  void Add(std::string piece, TokenType type = TokenType::kNormal) {
    pieces.push_back(std::move(piece));
    types.push_back(static_cast<std::int32_t>(type));
    scores.push_back(-static_cast<float>(pieces.size() % 17));
  }
  void AddSpecial() {
    Add("<s>", TokenType::kControl);
    Add("</s>", TokenType::kControl);
    Add("<unk>", TokenType::kUnknown);
    for (const char* piece : {"<b>", "<b", "b><", "\n", "\n\n"})
      Add(piece, TokenType::kUserDefined);
  }
};

std::vector<std::byte> ByteBpeImage(std::string_view pre) {
  Parts parts;
  parts.AddSpecial();
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    AppendUtf8(ByteSpelling(static_cast<unsigned char>(byte)), piece);
    parts.Add(std::move(piece));
  }
  const std::vector<std::string> merges = {"a a", "aa aa", "b a",   "a b", "Ġ a",
                                           "Ġ Ġ", "Ċ Ċ",   "ab ba", "Ã ©", "aaaa aaaa"};
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    parts.Add(merge.substr(0, space) + merge.substr(space + 1));
  }
  Metadata metadata;
  metadata.Add("tokenizer.ggml.model", std::string_view("gpt2"));
  metadata.Add("tokenizer.ggml.pre", pre);
  metadata.Add("tokenizer.ggml.tokens", parts.pieces);
  metadata.Add("tokenizer.ggml.token_type", GgufType::kI32, parts.types);
  metadata.Add("tokenizer.ggml.merges", merges);
  return metadata.Image();
}

std::vector<std::byte> SentencePieceImage(std::string_view model) {
  Parts parts;
  parts.AddSpecial();
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    parts.Add({'<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>'}, TokenType::kByte);
  }
  for (const char* piece :
       {"a", "b", "aa", "ab", "aba", "abab", "é", "éa", "é▁a", "▁", "▁a", "▁▁"}) {
    parts.Add(piece);
  }
  parts.Add("ba", TokenType::kUnused);
  parts.Add("aaa", TokenType::kUnused);
  Metadata metadata;
  metadata.Add("tokenizer.ggml.model", model);
  metadata.Add("tokenizer.ggml.tokens", parts.pieces);
  metadata.Add("tokenizer.ggml.token_type", GgufType::kI32, parts.types);
  metadata.Add("tokenizer.ggml.scores", GgufType::kF32, parts.scores);
  metadata.Add("tokenizer.ggml.add_space_prefix", false);
  return metadata.Image();
}

struct Subject {
  std::vector<std::byte> image;
  std::unique_ptr<Tokenizer> tokenizer;
  bool reads_marks_as_spaces;
};

std::vector<Subject> MakeSubjects() {
  std::vector<Subject> subjects;
  const auto add = [&](std::vector<std::byte> image, bool marks) {
    subjects.push_back({std::move(image), nullptr, marks});
    subjects.back().tokenizer = Tokenizer::FromGguf(GgufFile::Parse(subjects.back().image, "fuzz"));
  };
  for (const char* pre : {"smollm", "gpt-2", "llama-bpe", "qwen2", "tekken", "default"}) {
    add(ByteBpeImage(pre), false);
  }
  add(SentencePieceImage("llama"), true);
  add(SentencePieceImage("t5"), true);
  return subjects;
}

void Require(bool holds) {
  if (!holds) std::abort();
}

// Valid UTF-8 with the marks of SentencePiece as they are decoded.
std::string Expected(std::string_view text, bool reads_marks_as_spaces) {
  std::string expected;
  AppendRepairedUtf8(text, expected);
  for (std::size_t at = 0; reads_marks_as_spaces;) {
    at = expected.find(kMark, at);
    if (at == std::string::npos) break;
    expected.replace(at, std::strlen(kMark), " ");
  }
  return expected;
}

void CheckStream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder stream(tokenizer, true);
  std::string joined, decoded;
  for (const TokenId id : ids) joined += stream.Add(id);
  joined += stream.Finish();
  AppendRepairedUtf8(tokenizer.Decode(ids, true), decoded);
  Require(joined == decoded);
}

void CheckText(const Subject& subject, std::string_view text, bool parse_special) {
  const Tokenizer& tokenizer = *subject.tokenizer;
  const std::vector<TokenId> ids = tokenizer.Encode(text, {.parse_special = parse_special});
  Require(tokenizer.Decode(ids, true) == Expected(text, subject.reads_marks_as_spaces));
  for (const TokenId id : ids) {
    const TokenType type = tokenizer.Type(id);
    Require(parse_special || (type != TokenType::kControl && type != TokenType::kUnknown));
  }
  CheckStream(tokenizer, ids);
}

// One text in two runs, the second guarded.
void CheckRuns(const Subject& subject, std::string_view text) {
  const std::size_t middle = text.size() / 2;
  const TextRun runs[] = {{text.substr(0, middle), true}, {text.substr(middle), false}};
  std::string expected = Expected(runs[0].text, false) + Expected(runs[1].text, false);
  expected = Expected(expected, subject.reads_marks_as_spaces);
  Require(subject.tokenizer->Decode(subject.tokenizer->Encode(runs), true) == expected);
}

void CheckIds(const Tokenizer& tokenizer, std::string_view bytes) {
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    ids.push_back(static_cast<unsigned char>(bytes[i]) + 256 * (bytes[i + 1] % 2));
  }
  try {
    CheckStream(tokenizer, ids);
  } catch (const Error& error) {  // an id outside the vocabulary
    Require(error.code() == ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace foveate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<foveate::Subject> subjects = foveate::MakeSubjects();
  if (size == 0) return 0;
  const foveate::Subject& subject = subjects[data[0] % subjects.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  foveate::CheckText(subject, text, false);
  foveate::CheckText(subject, text, true);
  foveate::CheckRuns(subject, text);
  foveate::CheckIds(*subject.tokenizer, text);
  return 0;
}
