#include "text/byte_bpe.h"

#include <utility>

#include "base/log.h"
#include "text/utf8.h"

namespace foveate {
namespace {

// Bytes spelled by the Latin-1 character of their own number; the other 68 follow U+00FF in order.
constexpr bool SpellsItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr int kOthers = 68;

struct Alphabet {
  std::array<char32_t, 256> spelling{};
  std::array<unsigned char, kOthers> others{};  // the byte that U+0100 + i spells
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  std::size_t others = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const auto index = static_cast<std::size_t>(byte);
    if (SpellsItself(byte)) {
      alphabet.spelling[index] = static_cast<char32_t>(byte);
    } else {
      alphabet.spelling[index] = static_cast<char32_t>(0x100 + others);
      alphabet.others[others++] = static_cast<unsigned char>(byte);
    }
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

char32_t ByteSpelling(unsigned char byte) { return kAlphabet.spelling[byte]; }

int SpelledByte(char32_t code) {
  if (code < 0x100) return SpellsItself(static_cast<int>(code)) ? static_cast<int>(code) : -1;
  return code < 0x100 + kOthers ? kAlphabet.others[code - 0x100] : -1;
}

ByteBpe::ByteBpe(const Vocabulary& vocabulary, Pretokenizer pretokenizer)
    : vocabulary_(vocabulary), pretokenizer_(std::move(pretokenizer)), merges_(vocabulary) {
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    AppendUtf8(ByteSpelling(static_cast<unsigned char>(byte)), piece);
    byte_ids_[static_cast<std::size_t>(byte)] = vocabulary.FindText(piece).value_or(-1);
  }
}

bool ByteBpe::AppendWhole(std::string_view piece, std::vector<TokenId>& ids) const {
  if (piece.size() > vocabulary_.longest_piece()) return false;
  std::string spelled;
  for (const char c : piece) AppendUtf8(ByteSpelling(static_cast<unsigned char>(c)), spelled);
  const std::optional<TokenId> id = vocabulary_.FindText(spelled);
  if (id) ids.push_back(*id);
  return id.has_value();
}

void ByteBpe::Encode(std::string_view text, std::vector<TokenId>& ids) const {
  const auto rank = [this](const PairMerger::Pair& pair) {
    return merges_.Find(pair.left, pair.right);
  };
  PairMerger merger;
  std::int64_t dropped = 0;
  std::string_view piece;
  for (Pretokenizer::Reader reader(pretokenizer_, text); reader.Next(piece);) {
    if (pretokenizer_.ignores_merges() && AppendWhole(piece, ids)) continue;
    merger.Reset();
    for (const char c : piece) merger.Add(1, byte_ids_[static_cast<unsigned char>(c)]);
    merger.Run(rank);
    merger.ForEach([&](std::uint32_t, std::uint32_t, TokenId id) {
      if (id >= 0) {
        ids.push_back(id);
      } else {
        ++dropped;
      }
    });
  }
  if (dropped > 0) Warn("{} bytes of the text have no token and are left out", dropped);
}

void ByteBpe::AppendText(std::string_view piece, std::string& out) const {
  for (std::size_t at = 0; at < piece.size();) {
    const Utf8Step step = ReadUtf8(piece, at);
    const int byte = step.status == Utf8Step::Status::kValid ? SpelledByte(step.code) : -1;
    if (byte >= 0) {
      out.push_back(static_cast<char>(byte));
    } else {  // not of the alphabet: an added token that is spelled as it is
      out.append(piece.substr(at, step.length));
    }
    at += step.length;
  }
}

}  // namespace foveate
