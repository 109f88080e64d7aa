#include "runtime/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

#include "foveate/error.h"

namespace foveate {
namespace {

struct Expected {
  std::string shown;
  std::string hit;  // empty: none
};

// The stop string that ends first; of those the longest.
Expected NaiveSearch(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string hit;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop) && stop.size() > hit.size()) hit = stop;
    }
    if (!hit.empty()) return {text.substr(0, end - hit.size()), hit};
  }
  return {text, ""};
}

// The longest end of `text` that is a proper beginning of a stop string.
std::size_t NaiveHeld(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t held = 0;
  for (const std::string& stop : stops) {
    for (std::size_t n = 1; n < stop.size(); ++n) {
      if (text.ends_with(stop.substr(0, n))) held = std::max(held, n);
    }
  }
  return held;
}

TEST(StopMatcher, MatchesNaiveSearchWhateverThePieces) {
  std::mt19937 generator(3);
  int hits = 0;
  for (int round = 0; round < 5000; ++round) {
    const int alphabet = 1 + static_cast<int>(generator() % 3);
    const auto random_text = [&](std::size_t size) {
      std::string text(size, 'a');
      for (char& c : text) c = static_cast<char>('a' + generator() % alphabet);
      return text;
    };
    std::vector<std::string> stops(generator() % 4);
    for (std::string& stop : stops) stop = random_text(1 + generator() % 6);
    const std::string text = random_text(generator() % 40);
    const Expected expected = NaiveSearch(text, stops);

    StopMatcher matcher(stops);
    std::string shown;
    std::size_t at = 0;
    while (at < text.size()) {
      const std::size_t size = std::min<std::size_t>(generator() % 5, text.size() - at);
      shown += matcher.Feed(std::string_view(text).substr(at, size));
      at += size;
      if (matcher.stopped()) break;
      const std::string seen = text.substr(0, at);
      ASSERT_EQ(shown, seen.substr(0, at - NaiveHeld(seen, stops))) << round;
    }
    shown += matcher.Finish();
    ASSERT_EQ(shown, expected.shown) << round;
    ASSERT_EQ(matcher.stopped(), !expected.hit.empty()) << round;
    if (matcher.stopped()) {
      ASSERT_EQ(matcher.hit(), expected.hit) << round;
      ++hits;
      EXPECT_EQ(matcher.Feed("more"), "");
      EXPECT_EQ(matcher.Finish(), "");
    }
  }
  EXPECT_GT(hits, 1000);
}

TEST(StopMatcher, HoldsBackAcrossPieces) {
  StopMatcher matcher({"User:", "\n\n"});
  EXPECT_EQ(matcher.Feed("Hello Us"), "Hello ");
  EXPECT_EQ(matcher.Feed("ed"), "Used");
  EXPECT_EQ(matcher.Feed(" U"), " ");
  EXPECT_EQ(matcher.Feed("ser"), "");
  EXPECT_EQ(matcher.Feed(": x"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.hit(), "User:");
}

TEST(StopMatcher, FinishReleasesWhatWasHeld) {
  StopMatcher matcher({"stop"});
  EXPECT_EQ(matcher.Feed("don't sto"), "don't ");
  EXPECT_EQ(matcher.Finish(), "sto");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, NoStopStringsPassEverything) {
  StopMatcher matcher;
  EXPECT_EQ(matcher.Feed("text"), "text");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, EmptyStopStringIsRefused) { EXPECT_THROW(StopMatcher({"a", ""}), Error); }

}  // namespace
}  // namespace foveate
