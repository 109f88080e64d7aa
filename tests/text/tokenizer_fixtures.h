// Vocabularies and texts that the tokenizer tests share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/gguf.h"
#include "tests/support/gguf_writer.h"
#include "text/tokenizer.h"

namespace foveate::testing {

// A vocabulary under construction.
struct VocabularyParts {
  std::vector<std::string> pieces;
  std::vector<std::int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;

  TokenId Add(std::string piece, TokenType type = TokenType::kNormal, float score = 0);
  // `<0x00>` ... `<0xFF>` as byte tokens.
  void AddByteTokens();
  // The 256 characters of the byte-level alphabet.
  void AddByteAlphabet();

  // A writer of the file's keys for `model` (gpt2: with merges; others: with scores).
  GgufWriter Writer(std::string_view model) const;
};

// A tokenizer together with the file image that it reads.
struct LoadedTokenizer {
  std::vector<std::byte> image;
  std::unique_ptr<Tokenizer> tokenizer;

  const Tokenizer* operator->() const { return tokenizer.get(); }
  const Tokenizer& operator*() const { return *tokenizer; }
};

LoadedTokenizer Load(const GgufWriter& writer, std::string_view pre_override = {});

// Small vocabularies of each kind that can spell any text.
GgufWriter TinyByteBpe();
LoadedTokenizer LoadTinySentencePiece();  // tiny_spm.gguf
GgufWriter GoldenUnigram();               // of tokenizer_unigram.json

nlohmann::json ReadGolden(const std::string& name);
std::string ReadTestFile(const std::string& name);
std::string FromHex(std::string_view hex);

// A downloaded model under the cache folder, or nothing.
std::unique_ptr<Tokenizer> LoadCachedModel(const std::string& name_in_cache);
inline constexpr const char* kSmollm2 = "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
inline constexpr const char* kGemma3 = "gemma3/gemma-3-270m-q4_k_m.gguf";

// Well-formed text of about `bytes` bytes: every kind of character, words, runs and white space.
std::string RandomUnicode(std::uint64_t seed, std::size_t bytes);

// The warnings of the library while it lives.
class WarningRecorder {
 public:
  WarningRecorder();
  ~WarningRecorder();
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

}  // namespace foveate::testing
