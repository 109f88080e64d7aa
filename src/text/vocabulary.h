// The tokens of a GGUF file: their spelling, kind and score, and the way back from spelling to id.
// Nothing is copied that the mapped file already holds: a vocabulary of 262,144 tokens takes 5.5
// MiB.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "format/gguf.h"

namespace foveate {

using TokenId = std::int32_t;

enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

class Vocabulary {
 public:
  // Reads `tokenizer.ggml.tokens`, `token_type` (all normal when absent) and `scores` (zero when
  // absent). Throws Error(kCorruptFile) for arrays of the wrong kind or of different length.
  // Duplicate and empty spellings are warned of; of duplicates the first is found.
  explicit Vocabulary(const GgufFile& file);

  const GgufFile& file() const { return file_; }
  std::int32_t size() const { return static_cast<std::int32_t>(offsets_.size()); }
  bool Contains(TokenId id) const { return id >= 0 && id < size(); }

  // `id` must be inside the vocabulary.
  std::string_view Piece(TokenId id) const;
  TokenType Type(TokenId id) const { return types_[static_cast<std::size_t>(id)]; }
  bool has_scores() const { return !scores_.empty(); }
  float Score(TokenId id) const;

  // The first token with this spelling, of any type.
  std::optional<TokenId> Find(std::string_view piece) const;

  // The same among the tokens that ordinary text may become: normal, user-defined and unused ones.
  // Text that spells a control token must never turn into it by merging.
  std::optional<TokenId> FindText(std::string_view piece) const;

  // The byte a kByte token stands for ("<0x0A>" is 10); nothing for other spellings.
  static std::optional<unsigned char> ByteOf(std::string_view piece);
  // The token of kind kByte for `byte`.
  std::optional<TokenId> FindByte(unsigned char byte) const;

  std::size_t longest_piece() const { return longest_piece_; }  // bytes

  // The token that an id key such as `tokenizer.ggml.bos_token_id` names. An id outside the
  // vocabulary throws Error(kCorruptFile).
  std::optional<TokenId> IdFromKey(std::string_view key) const;

 private:
  struct Slot {
    std::uint32_t tag = 0;  // upper half of the hash
    TokenId id = -1;
  };

  void ReadTokens();
  void ReadTypes();
  void ReadScores();
  void BuildIndex();

  GgufFile file_;                       // keeps the mapping alive
  std::span<const std::byte> tokens_;   // each a 64-bit length and its bytes
  std::vector<std::uint32_t> offsets_;  // of the bytes of each token
  std::vector<TokenType> types_;
  std::span<const std::byte> scores_;  // packed f32, maybe unaligned
  std::vector<Slot> slots_;            // open addressing, a power of two, half empty
  std::size_t longest_piece_ = 0;
};

}  // namespace foveate
