#include "text/unigram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/throw.h"
#include "text/utf8.h"

namespace foveate {
namespace {

constexpr TokenId kNoToken = -1;
constexpr double kUnreached = -std::numeric_limits<double>::infinity();
constexpr double kMissingPenalty = 10;  // below the worst token

std::vector<TokenId> UsableTokens(const Vocabulary& vocabulary) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.Type(id);
    const bool usable = type == TokenType::kNormal || type == TokenType::kUserDefined;
    if (usable && !vocabulary.Piece(id).empty()) ids.push_back(id);
  }
  return ids;
}

}  // namespace

Unigram::Unigram(const Vocabulary& vocabulary, SentencePieceOptions options)
    : vocabulary_(vocabulary),
      options_(options),
      words_(vocabulary),
      fallback_(vocabulary),
      trie_(vocabulary, UsableTokens(vocabulary)) {
  if (!vocabulary.has_scores()) {
    Throw(ErrorCode::kCorruptFile, "{}: no tokenizer.ggml.scores", vocabulary.file().path());
  }
  double lowest = std::numeric_limits<double>::infinity();
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.Type(id) == TokenType::kNormal) {
      lowest = std::min(lowest, double{vocabulary.Score(id)});
    }
  }
  missing_score_ = (std::isinf(lowest) ? 0 : lowest) - kMissingPenalty;
}

void Unigram::Encode(std::string_view text, std::vector<TokenId>& ids) const {
  const std::string marked = MarkSpaces(text, options_);
  std::vector<Step> best;
  std::vector<Step> path;
  for (std::string_view rest = marked; !rest.empty();) {
    const std::string_view word = rest.substr(0, words_.FirstWord(rest));
    rest.remove_prefix(word.size());
    FindBest(word, best);
    path.clear();
    for (std::size_t at = word.size(); at > 0; at -= best[at].bytes) path.push_back(best[at]);
    std::size_t at = 0;
    for (auto step = path.rbegin(); step != path.rend(); at += step->bytes, ++step) {
      if (step->id == kNoToken) {
        fallback_.Append(word.substr(at, step->bytes), ids);
      } else {
        ids.push_back(step->id);
      }
    }
  }
}

void Unigram::FindBest(std::string_view word, std::vector<Step>& best) const {
  best.assign(word.size() + 1, Step{kUnreached, 0, kNoToken});
  best[0].score = 0;
  for (std::size_t at = 0; at < word.size(); at += Utf8Length(word[at])) {
    const auto reach = [&](std::size_t bytes, double score, TokenId id) {
      Step& step = best[at + bytes];
      const double sum = best[at].score + score;
      if (sum > step.score) step = {sum, static_cast<std::uint32_t>(bytes), id};
    };
    const std::size_t character = Utf8Length(word[at]);
    bool has_own_token = false;
    trie_.ForEachPrefix(word.substr(at), [&](std::size_t bytes, TokenId id) {
      has_own_token |= bytes == character;
      reach(bytes, vocabulary_.Score(id), id);
    });
    if (!has_own_token) reach(character, missing_score_, kNoToken);
  }
}

void Unigram::AppendText(std::string_view piece, std::string& out) const {
  AppendUnmarked(piece, out);
}

}  // namespace foveate
