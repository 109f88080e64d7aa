#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/log.h"
#include "base/throw.h"
#include "text/string_array.h"
#include "text/string_hash.h"

namespace foveate {
namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";

bool IsText(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined ||
         type == TokenType::kUnused;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

Vocabulary::Vocabulary(const GgufFile& file) : file_(file) {
  ReadTokens();
  ReadTypes();
  ReadScores();
  BuildIndex();
}

void Vocabulary::ReadTokens() {
  const GgufValue* tokens = file_.Find(kTokensKey);
  if (tokens == nullptr) Throw(ErrorCode::kCorruptFile, "{}: no {}", file_.path(), kTokensKey);
  if (tokens->type != GgufType::kArray || tokens->element_type != GgufType::kString) {
    Throw(ErrorCode::kCorruptFile, "{}: {} is not an array of strings", file_.path(), kTokensKey);
  }
  constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max() / 4;
  tokens_ = tokens->bytes;
  if (tokens->count == 0 || tokens->count > kMost ||
      tokens_.size() > std::numeric_limits<std::uint32_t>::max()) {
    Throw(ErrorCode::kCorruptFile, "{}: {} holds {} tokens in {} bytes, expected 1 to {} in 4 GiB",
          file_.path(), kTokensKey, tokens->count, tokens_.size(), kMost);
  }
  offsets_.reserve(tokens->count);
  StringArrayReader reader(tokens_);
  for (std::uint64_t i = 0; i < tokens->count; ++i) {
    std::string_view piece;
    if (!reader.Next(piece)) {
      Throw(ErrorCode::kCorruptFile, "{}: {} ends inside token {}", file_.path(), kTokensKey, i);
    }
    const auto* text = reinterpret_cast<const std::byte*>(piece.data());
    offsets_.push_back(static_cast<std::uint32_t>(text - tokens_.data()));
    longest_piece_ = std::max(longest_piece_, piece.size());
  }
}

void Vocabulary::ReadTypes() {
  types_.assign(offsets_.size(), TokenType::kNormal);
  const GgufValue* types = file_.Find(kTypesKey);
  if (types == nullptr) return;
  const bool integers =
      types->element_type == GgufType::kI32 || types->element_type == GgufType::kU32;
  if (types->type != GgufType::kArray || !integers || types->count != offsets_.size()) {
    Throw(ErrorCode::kCorruptFile, "{}: {} is not an array of {} 32-bit integers", file_.path(),
          kTypesKey, offsets_.size());
  }
  for (std::size_t i = 0; i < types_.size(); ++i) {
    std::uint32_t type;
    std::memcpy(&type, types->bytes.data() + i * sizeof(type), sizeof(type));
    if (type > 6) {
      Throw(ErrorCode::kCorruptFile, "{}: {}[{}] is {}, expected 1 to 6", file_.path(), kTypesKey,
            i, static_cast<std::int32_t>(type));
    }
    if (type != 0) types_[i] = static_cast<TokenType>(type);  // 0: "undefined", read as normal
  }
}

void Vocabulary::ReadScores() {
  const GgufValue* scores = file_.Find(kScoresKey);
  if (scores == nullptr) return;
  if (scores->type != GgufType::kArray || scores->element_type != GgufType::kF32 ||
      scores->count != offsets_.size()) {
    Throw(ErrorCode::kCorruptFile, "{}: {} is not an array of {} 32-bit floats", file_.path(),
          kScoresKey, offsets_.size());
  }
  scores_ = scores->bytes;
  for (TokenId id = 0; id < size(); ++id) {
    if (!std::isfinite(Score(id))) {
      Throw(ErrorCode::kCorruptFile, "{}: {}[{}] is {}, expected a finite number", file_.path(),
            kScoresKey, id, Score(id));
    }
  }
}

void Vocabulary::BuildIndex() {
  slots_.resize(std::bit_ceil(offsets_.size() * 2));
  const std::size_t mask = slots_.size() - 1;
  std::int64_t duplicates = 0, empty = 0;
  TokenId first_duplicate = 0;
  for (TokenId id = 0; id < size(); ++id) {
    const std::string_view piece = Piece(id);
    if (piece.empty()) {
      ++empty;
      continue;
    }
    const std::uint64_t hash = HashBytes(piece);
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    std::size_t at = hash & mask;
    const auto same = [&](const Slot& slot) { return slot.tag == tag && Piece(slot.id) == piece; };
    while (slots_[at].id >= 0 && !same(slots_[at])) at = (at + 1) & mask;
    if (slots_[at].id < 0) {
      slots_[at] = {tag, id};
    } else if (duplicates++ == 0) {
      first_duplicate = id;
    }
  }
  if (empty > 0) Warn("{}: {} tokens are empty and never produced", file_.path(), empty);
  if (duplicates > 0) {
    Warn("{}: {} tokens repeat the text of an earlier one (first: id {}) and are never produced",
         file_.path(), duplicates, first_duplicate);
  }
}

std::string_view Vocabulary::Piece(TokenId id) const {
  const std::byte* text = tokens_.data() + offsets_[static_cast<std::size_t>(id)];
  std::uint64_t length;
  std::memcpy(&length, text - sizeof(length), sizeof(length));
  return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(length)};
}

float Vocabulary::Score(TokenId id) const {
  if (scores_.empty()) return 0;
  float score;
  std::memcpy(&score, scores_.data() + static_cast<std::size_t>(id) * sizeof(score), sizeof(score));
  return score;
}

std::optional<TokenId> Vocabulary::Find(std::string_view piece) const {
  if (piece.empty() || piece.size() > longest_piece_) return std::nullopt;
  const std::uint64_t hash = HashBytes(piece);
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask) {
    if (slots_[at].tag == tag && Piece(slots_[at].id) == piece) return slots_[at].id;
  }
  return std::nullopt;
}

std::optional<TokenId> Vocabulary::FindText(std::string_view piece) const {
  const std::optional<TokenId> id = Find(piece);
  return id && IsText(Type(*id)) ? id : std::nullopt;
}

std::optional<unsigned char> Vocabulary::ByteOf(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const int high = HexDigit(piece[3]), low = HexDigit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<unsigned char>(high * 16 + low);
}

std::optional<TokenId> Vocabulary::FindByte(unsigned char byte) const {
  constexpr char kDigits[] = "0123456789ABCDEF";
  const char piece[] = {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
  const std::optional<TokenId> id = Find({piece, sizeof(piece)});
  return id && Type(*id) == TokenType::kByte ? id : std::nullopt;
}

std::optional<TokenId> Vocabulary::IdFromKey(std::string_view key) const {
  const auto id = file_.Get<std::int64_t>(key);
  if (id && (*id < 0 || *id >= size())) {
    Throw(ErrorCode::kCorruptFile, "{}: {} is {}, the vocabulary has {} tokens", file_.path(), key,
          *id, size());
  }
  return id ? std::optional(static_cast<TokenId>(*id)) : std::nullopt;
}

}  // namespace foveate
