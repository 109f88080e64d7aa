#include "text/sentencepiece_text.h"

namespace foveate {
namespace {

// `text` without spaces at its ends and with single spaces inside.
std::string WithoutExtraSpaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string MarkSpaces(std::string_view text, SentencePieceOptions options) {
  std::string collapsed;
  if (options.remove_extra_spaces) {
    collapsed = WithoutExtraSpaces(text);
    text = collapsed;
  }
  std::string out;
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (options.add_space_prefix) out.append(kSpaceMark);
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    out.append(text.substr(0, space));
    if (space == std::string_view::npos) break;
    out.append(kSpaceMark);
    text.remove_prefix(space + 1);
  }
  return out;
}

void AppendUnmarked(std::string_view piece, std::string& out) {
  for (std::size_t mark; (mark = piece.find(kSpaceMark)) != std::string_view::npos;) {
    out.append(piece.substr(0, mark)).push_back(' ');
    piece.remove_prefix(mark + kSpaceMark.size());
  }
  out.append(piece);
}

WordSplitter::WordSplitter(const Vocabulary& vocabulary) {
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const std::string_view piece = vocabulary.Piece(id);
    for (std::size_t at = 1; (at = piece.find(kSpaceMark, at)) != std::string_view::npos; ++at) {
      before_mark_.set(static_cast<unsigned char>(piece[at - 1]));
    }
  }
}

std::size_t WordSplitter::FirstWord(std::string_view text) const {
  for (std::size_t at = 1; (at = text.find(kSpaceMark, at)) != std::string_view::npos; ++at) {
    if (!before_mark_.test(static_cast<unsigned char>(text[at - 1]))) return at;
  }
  return text.size();
}

}  // namespace foveate
