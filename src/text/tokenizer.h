// Text to token ids and back, as the vocabulary of a GGUF file prescribes: byte-level BPE (`gpt2`),
// SentencePiece BPE (`llama`) and unigram (`t5`).
//
//   auto tokenizer = Tokenizer::FromGguf(file);
//   std::vector<TokenId> ids = tokenizer->Encode("Hello", {.add_special = true});
//   std::string text = tokenizer->Decode(ids);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/gguf.h"
#include "text/vocabulary.h"

namespace foveate {

class SpecialSplitter;
class SubwordModel;

struct EncodeOptions {
  bool parse_special = false;  // whether the text of control tokens becomes those tokens
  bool add_special = true;     // whether BOS and EOS are added where the vocabulary asks for them
};

// A part of a text with its own say on control tokens: what a chat template wrote may hold them,
// what a user wrote may not.
struct TextRun {
  std::string_view text;
  bool parse_special = false;
};

// Immutable: any number of threads may use one object.
class Tokenizer {
 public:
  static constexpr std::int64_t kMostTextBytes = std::int64_t{64} << 20;

  // `pre_override` replaces the file's `tokenizer.ggml.pre`. Throws Error: kCorruptFile for missing
  // or inconsistent arrays, kUnsupported for an unknown model or pre-tokeniser (with the list).
  // A missing pre-tokeniser name is warned of.
  static std::unique_ptr<Tokenizer> FromGguf(const GgufFile& file,
                                             std::string_view pre_override = {});
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Invalid UTF-8 is replaced by U+FFFD, one per maximal invalid part, before encoding.
  // Text beyond 64 MiB throws Error(kLimit). A text that begins with the BOS token (parsed) gets no
  // second one.
  std::vector<TokenId> Encode(std::string_view text, EncodeOptions options = {}) const;

  // The same for a text in parts. The ids are those of the whole text, save that no control token
  // is found inside or reaching into a part without parse_special.
  // Nor are the user-defined tokens with which the parts that have it mark the structure of a chat:
  // some files type "<|user|>" so, and a message that spells it out must not become one.
  std::vector<TokenId> Encode(std::span<const TextRun> runs, bool add_special = true) const;

  // The text of `ids`; control tokens are left out unless `show_special`. The result may hold
  // incomplete UTF-8 when ids end inside a character. An id outside the vocabulary throws
  // Error(kInvalidArgument).
  std::string Decode(std::span<const TokenId> ids, bool show_special = false) const;

  // The bytes that one token adds to a running text (no leading-space rule applied).
  std::string TokenText(TokenId id, bool show_special = false) const;
  // The token as the vocabulary spells it ("Ġthe", "▁the", "<0x0A>"); a view into the model file.
  std::string_view Piece(TokenId id) const;
  TokenType Type(TokenId id) const;
  // The token whose vocabulary spelling is `piece`, if any.
  std::optional<TokenId> Find(std::string_view piece) const;

  std::int32_t size() const { return vocabulary_.size(); }  // tokens in the vocabulary
  std::optional<TokenId> bos() const { return bos_; }
  std::optional<TokenId> eos() const { return eos_; }
  bool adds_bos() const { return adds_bos_; }
  bool adds_eos() const { return adds_eos_; }
  // Whether Decode removes the space that Encode put in front.
  bool drops_leading_space() const;
  bool IsEndOfGeneration(TokenId id) const;
  // In ascending order.
  const std::vector<TokenId>& EndOfGenerationIds() const { return end_ids_; }

 private:
  // The user-defined tokens other than white space that the runs with parse_special hold, sorted.
  std::vector<TokenId> Markers(std::span<const TextRun> runs) const;
  explicit Tokenizer(const GgufFile& file);
  // Each sets model_ and what the absence of add_bos_token and add_eos_token means.
  void UseByteBpe(std::string_view pre_override);
  void UseSentencePiece(bool unigram);
  void ReadSpecialIds();
  void CheckId(TokenId id) const;
  // Appends what TokenText returns, for a valid id.
  void AppendTokenText(TokenId id, bool show_special, std::string& out) const;
  friend class StreamDecoder;

  Vocabulary vocabulary_;
  std::unique_ptr<SpecialSplitter> special_;
  std::unique_ptr<SubwordModel> model_;
  std::optional<TokenId> bos_, eos_;
  bool adds_bos_ = false, adds_eos_ = false;
  std::vector<TokenId> end_ids_;
};

// Decodes token by token without ever handing out half a character. The strings joined are
// Decode(ids), with invalid UTF-8 replaced by U+FFFD.
class StreamDecoder {
 public:
  // `tokenizer` must outlive the decoder. With `continues_text` the leading-space rule does not
  // apply: the ids go on from a text that was encoded before.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool show_special = false,
                         bool continues_text = false);
  // The complete characters that `id` finishes (may be empty).
  std::string Add(TokenId id);
  // What is left at the end: U+FFFD for a broken tail, otherwise empty.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  bool show_special_;
  bool drop_space_;   // still due
  std::string tail_;  // a character begun, at most 3 bytes
};

}  // namespace foveate
