#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/throw.h"

namespace foveate {

// Knuth, Morris and Pratt, "Fast pattern matching in strings", 1977, once for each stop string.
StopMatcher::StopMatcher(std::vector<std::string> stop_strings) {
  for (std::string& text : stop_strings) {
    if (text.empty()) Throw(ErrorCode::kInvalidArgument, "a stop string must not be empty");
    Pattern pattern{.text = std::move(text), .border = {}, .matched = 0};
    pattern.border.push_back(0);
    for (std::size_t i = 1; i < pattern.text.size(); ++i) {
      Advance(pattern, pattern.text[i]);
      pattern.border.push_back(pattern.matched);
    }
    pattern.matched = 0;
    patterns_.push_back(std::move(pattern));
  }
}

void StopMatcher::Advance(Pattern& pattern, char byte) {
  std::int32_t& matched = pattern.matched;
  while (matched > 0 && pattern.text[matched] != byte) matched = pattern.border[matched - 1];
  if (pattern.text[matched] == byte) ++matched;
}

std::string StopMatcher::Feed(std::string_view piece) {
  if (stopped()) return {};
  for (const char byte : piece) {
    pending_.push_back(byte);
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      Advance(patterns_[i], byte);
      const bool complete = patterns_[i].matched == std::ssize(patterns_[i].text);
      if (complete && (!stopped() || patterns_[i].text.size() > hit().size())) {
        hit_ = static_cast<std::int64_t>(i);
      }
    }
    if (stopped()) {
      pending_.resize(pending_.size() - hit().size());
      return std::exchange(pending_, {});
    }
  }
  std::size_t held = 0;
  for (const Pattern& pattern : patterns_) {
    held = std::max(held, static_cast<std::size_t>(pattern.matched));
  }
  std::string safe = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, safe.size());
  return safe;
}

std::string StopMatcher::Finish() { return std::exchange(pending_, {}); }

}  // namespace foveate
