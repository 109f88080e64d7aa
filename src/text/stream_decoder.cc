#include <utility>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace foveate {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool show_special, bool continues_text)
    : tokenizer_(tokenizer),
      show_special_(show_special),
      drop_space_(tokenizer.drops_leading_space() && !continues_text) {}

std::string StreamDecoder::Add(TokenId id) {
  std::string added = tokenizer_.TokenText(id, show_special_);
  std::string_view fresh = added;
  if (drop_space_ && !fresh.empty()) {
    drop_space_ = false;
    if (fresh.front() == ' ' && tokenizer_.Type(id) != TokenType::kUserDefined) {
      fresh.remove_prefix(1);
    }
  }
  tail_.append(fresh);
  const std::size_t whole = tail_.size() - IncompleteUtf8Tail(tail_);
  std::string out;
  AppendRepairedUtf8(std::string_view(tail_).substr(0, whole), out);
  tail_.erase(0, whole);
  return out;
}

std::string StreamDecoder::Finish() {
  std::string out;
  AppendRepairedUtf8(std::exchange(tail_, {}), out);
  return out;
}

}  // namespace foveate
