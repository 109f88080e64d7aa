// Finds stop strings in a text that arrives in pieces, across the borders of pieces, and never lets
// any part of one out.
//
//   StopMatcher matcher({"User:"});
//   while (!matcher.stopped() && more) Show(matcher.Feed(piece));
//   Show(matcher.Finish());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foveate {

class StopMatcher {
 public:
  // Throws Error(kInvalidArgument) for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stop_strings = {});

  // The part of the text so far that is now safe to show: all but the longest end that may still
  // become a stop string. Once a stop string is complete (the one that ends first; of several that
  // end together the longest), it and what follows are dropped, and Feed returns nothing more.
  std::string Feed(std::string_view piece);

  // What was held back, at the end of the text; nothing if a stop string was hit.
  std::string Finish();

  bool stopped() const { return hit_ >= 0; }
  // The stop string that was hit; only when stopped().
  const std::string& hit() const { return patterns_[hit_].text; }

 private:
  struct Pattern {
    std::string text;
    std::vector<std::int32_t> border;  // of each prefix: its longest proper one that also ends it
    std::int32_t matched = 0;          // how much of `text` the text so far ends with
  };

  static void Advance(Pattern& pattern, char byte);

  std::vector<Pattern> patterns_;
  std::string pending_;  // seen but not shown
  std::int64_t hit_ = -1;
};

}  // namespace foveate
