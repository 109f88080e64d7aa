#include "text/sentencepiece_bpe.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "base/throw.h"
#include "text/utf8.h"

namespace foveate {
namespace {

// Symbols carry the id they merged into; single characters are looked up only if they stay single.
constexpr TokenId kNotLookedUp = -1;

// Ranks ascend as scores descend.
std::uint32_t RankOfScore(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // -0 becomes +0
  const bool negative = (bits >> 31) != 0;
  return negative ? bits : ~(bits | 0x80000000u);
}

void AddCharacters(std::string_view text, PairMerger& merger) {
  merger.Reset();
  for (std::size_t at = 0; at < text.size(); at += Utf8Length(text[at])) {
    merger.Add(static_cast<std::uint32_t>(Utf8Length(text[at])), kNotLookedUp);
  }
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(const Vocabulary& vocabulary, SentencePieceOptions options)
    : vocabulary_(vocabulary), options_(options), words_(vocabulary), fallback_(vocabulary) {
  if (!vocabulary.has_scores()) {
    Throw(ErrorCode::kCorruptFile, "{}: no tokenizer.ggml.scores", vocabulary.file().path());
  }
}

void SentencePieceBpe::Encode(std::string_view text, std::vector<TokenId>& ids) const {
  const std::string marked = MarkSpaces(text, options_);
  PairMerger merger;
  for (std::string_view rest = marked; !rest.empty();) {
    const std::string_view word = rest.substr(0, words_.FirstWord(rest));
    EncodeWord(word, merger, ids);
    rest.remove_prefix(word.size());
  }
}

PairMerger::Merge SentencePieceBpe::MergeInto(std::string_view piece) const {
  const std::optional<TokenId> id = vocabulary_.FindText(piece);
  return id ? PairMerger::Merge{RankOfScore(vocabulary_.Score(*id)), *id} : PairMerger::Merge{};
}

void SentencePieceBpe::EncodeWord(std::string_view word, PairMerger& merger,
                                  std::vector<TokenId>& ids) const {
  AddCharacters(word, merger);
  merger.Run([&](const PairMerger::Pair& pair) {
    return MergeInto(word.substr(pair.begin, pair.end - pair.begin));
  });
  merger.ForEach([&](std::uint32_t begin, std::uint32_t end, TokenId id) {
    const Symbol symbol{word.substr(begin, end - begin), id};
    if (IsMergedUnused(symbol)) {
      AppendUndone(symbol, ids);
    } else {
      AppendSymbol(symbol, ids);
    }
  });
}

void SentencePieceBpe::AppendSymbol(const Symbol& symbol, std::vector<TokenId>& ids) const {
  const std::optional<TokenId> id =
      symbol.id == kNotLookedUp ? vocabulary_.FindText(symbol.text) : symbol.id;
  if (id) {
    ids.push_back(*id);
  } else {
    fallback_.Append(symbol.text, ids);
  }
}

bool SentencePieceBpe::IsMergedUnused(const Symbol& symbol) const {
  return symbol.id != kNotLookedUp && vocabulary_.Type(symbol.id) == TokenType::kUnused;
}

// Unused tokens take part in merging but are not produced: they fall back into the two symbols they
// were merged from. Those are what merging the same bytes leads to when the last step, to the
// whole, is forbidden.
void SentencePieceBpe::AppendUndone(const Symbol& symbol, std::vector<TokenId>& ids) const {
  PairMerger merger;
  std::vector<Symbol> open = {symbol};  // the leftmost last
  while (!open.empty()) {
    const Symbol whole = open.back();
    open.pop_back();
    if (!IsMergedUnused(whole)) {
      AppendSymbol(whole, ids);
      continue;
    }
    AddCharacters(whole.text, merger);
    merger.Run([&](const PairMerger::Pair& pair) {
      const std::string_view part = whole.text.substr(pair.begin, pair.end - pair.begin);
      return part.size() == whole.text.size() ? PairMerger::Merge{} : MergeInto(part);
    });
    const auto first_part = static_cast<std::ptrdiff_t>(open.size());
    merger.ForEach([&](std::uint32_t begin, std::uint32_t end, TokenId id) {
      open.push_back({whole.text.substr(begin, end - begin), id});
    });
    std::reverse(open.begin() + first_part, open.end());
  }
}

void SentencePieceBpe::AppendText(std::string_view piece, std::string& out) const {
  AppendUnmarked(piece, out);
}

}  // namespace foveate
