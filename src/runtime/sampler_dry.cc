#include "runtime/sampler_dry.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace foveate {
namespace {

// A breaker longer than this is cut: it would not be found token by token any more.
constexpr std::size_t kLongestTail = 20;

// matches[i] = length of the longest common suffix of `window` and of `window` without its last i
// tokens: the Z-function of the reversed window (Gusfield, "Algorithms on Strings, Trees and
// Sequences", 1997, section 1.4). matches[0] is not used.
void SuffixMatches(std::span<const TokenId> window, std::vector<std::int32_t>& matches) {
  const auto n = static_cast<std::int32_t>(window.size());
  const auto reversed = [&](std::int32_t i) { return window[n - 1 - i]; };
  matches.assign(n, 0);
  std::int32_t left = 0;  // [left, right) is the match found so far that ends last
  std::int32_t right = 0;
  for (std::int32_t i = 1; i < n; ++i) {
    std::int32_t length = i < right ? std::min(right - i, matches[i - left]) : 0;
    while (i + length < n && reversed(length) == reversed(i + length)) ++length;
    matches[i] = length;
    if (i + length > right) {
      left = i;
      right = i + length;
    }
  }
}

bool EndsWith(std::span<const TokenId> tokens, const TokenSequence& tail) {
  return tail.size() <= tokens.size() &&
         std::equal(tail.begin(), tail.end(), tokens.end() - std::ssize(tail));
}

double Penalty(const DryOptions& options, std::int64_t repetition) {
  // Clamped so that the power, and with it the logit, stays finite in f32.
  const double longest = std::log(std::numeric_limits<float>::max()) / std::log(options.base);
  const auto excess = static_cast<double>(repetition - options.allowed_length);
  return options.multiplier * std::pow(options.base, std::min(excess, longest));
}

// The proper beginnings of `breaker` that `text` ends with, as their lengths.
void AppendSplitBreakers(TokenId id, std::string_view text, std::string_view breaker,
                         const std::function<std::vector<TokenId>(std::string_view)>& encode,
                         std::vector<TokenSequence>& sequences) {
  for (std::size_t head = 1; head < breaker.size() && head <= text.size(); ++head) {
    if (!text.ends_with(breaker.substr(0, head))) continue;
    TokenSequence sequence = encode(breaker.substr(head));
    if (sequence.empty()) continue;
    if (sequence.size() > kLongestTail) sequence.resize(kLongestTail);
    sequence.insert(sequence.begin(), id);
    sequences.push_back(std::move(sequence));
  }
}

}  // namespace

DryBreakers::DryBreakers(std::span<const TokenSequence> sequences) {
  for (const TokenSequence& sequence : sequences) {
    if (sequence.size() == 1) single_.push_back(sequence.front());
    if (sequence.size() > 1) sequences_.push_back(sequence);
  }
  std::sort(single_.begin(), single_.end());
  std::sort(sequences_.begin(), sequences_.end(),
            [](const auto& a, const auto& b) { return a.back() < b.back(); });
}

bool DryBreakers::Contains(TokenId id) const {
  return std::binary_search(single_.begin(), single_.end(), id);
}

std::int64_t DryBreakers::TokensAfterLast(std::span<const TokenId> window) const {
  const auto ends_at = [this](std::span<const TokenId> tokens) {
    if (Contains(tokens.back())) return true;
    auto sequence = std::lower_bound(
        sequences_.begin(), sequences_.end(), tokens.back(),
        [](const TokenSequence& candidate, TokenId id) { return candidate.back() < id; });
    for (; sequence != sequences_.end() && sequence->back() == tokens.back(); ++sequence) {
      if (EndsWith(tokens, *sequence)) return true;
    }
    return false;
  };
  for (std::int64_t after = 0; after < std::ssize(window); ++after) {
    if (ends_at(window.first(window.size() - after))) return after;
  }
  return std::ssize(window);
}

std::vector<TokenSequence> FindBreakerSequences(
    std::span<const std::string> texts, std::span<const std::string> breakers,
    const std::function<std::vector<TokenId>(std::string_view)>& encode) {
  std::vector<TokenSequence> sequences;
  for (TokenId id = 0; id < std::ssize(texts); ++id) {
    for (const std::string& breaker : breakers) {
      if (breaker.empty()) continue;
      if (texts[id].find(breaker) != std::string::npos) {
        sequences.push_back({id});
      } else {
        AppendSplitBreakers(id, texts[id], breaker, encode, sequences);
      }
    }
  }
  return sequences;
}

std::vector<TokenSequence> FindBreakerSequences(const Tokenizer& tokenizer,
                                                std::span<const std::string> breakers) {
  std::vector<std::string> texts(tokenizer.size());
  for (TokenId id = 0; id < tokenizer.size(); ++id) texts[id] = tokenizer.TokenText(id);
  return FindBreakerSequences(texts, breakers, [&](std::string_view text) {
    return tokenizer.Encode(text, {.parse_special = false, .add_special = false});
  });
}

void ApplyDry(Candidates& candidates, std::span<const TokenId> history, const DryOptions& options,
              const DryBreakers& breakers, TokenTally& tally, DryScratch& scratch) {
  if (options.multiplier == 0) return;
  const std::span<const TokenId> window = HistoryTail(history, options.last_n);
  const std::int64_t limit = breakers.TokensAfterLast(window);
  if (limit < options.allowed_length) return;
  SuffixMatches(window, scratch.matches);
  for (std::int64_t i = 1; i < std::ssize(window); ++i) {
    const std::int64_t repetition = std::min<std::int64_t>(scratch.matches[i], limit);
    if (repetition < options.allowed_length) continue;
    std::int64_t* const longest = tally.Find(window[window.size() - i]);
    if (longest != nullptr) *longest = std::max(*longest, repetition);
  }
  for (const TokenId id : tally.seen()) {
    const std::int64_t repetition = tally.Take(id);
    if (breakers.Contains(id)) continue;
    candidates.Adjust(id, [&](float logit) {
      if (std::isinf(logit)) return logit;
      constexpr double kLowest = -std::numeric_limits<float>::max();
      return static_cast<float>(std::max(logit - Penalty(options, repetition), kLowest));
    });
  }
  tally.Forget();
}

}  // namespace foveate
