#include "eval/questions.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include "base/throw.h"
#include "eval/statistics.h"

namespace foveate {
namespace {

constexpr std::string_view kPasskeyIntro =
    "A secret number is hidden in the text below. Read the text and remember the number.\n\n";
constexpr std::string_view kFiller =
    "The river is wide. The hill is steep. The road is long. We walk on and we come home.\n";
constexpr std::string_view kPasskeyQuestion = "\nWhat is the secret number? The secret number is";
constexpr std::string_view kNeedleQuestion =
    "\nQuestion: What is the number of the blue boat?\nAnswer: The number of the blue boat is";

// The text of a prompt with so many pieces of filler, or sentences.
using PromptOf = std::function<std::string(std::int64_t pieces)>;

// Tokens of the longest prompt that leaves room for the answer, up to `most` pieces.
std::vector<TokenId> LongestPrompt(const Tokenizer& tokenizer, std::int64_t context,
                                   std::int64_t most, const PromptOf& prompt_of) {
  const auto encode = [&](std::int64_t pieces) { return tokenizer.Encode(prompt_of(pieces)); };
  const auto fits = [&](std::int64_t pieces) {
    return std::ssize(encode(pieces)) + kAnswerTokens <= context;
  };
  if (!fits(1)) {
    Throw(ErrorCode::kInvalidArgument, "a context of {} tokens leaves no room for the question",
          context);
  }
  std::int64_t enough = 1, step = 1;
  while (enough + step <= most && fits(enough + step)) enough += std::exchange(step, step * 2);
  for (; step > 0; step /= 2) {
    if (enough + step <= most && fits(enough + step)) enough += step;
  }
  return encode(enough);
}

std::int64_t Share(double share, std::int64_t of) {
  return static_cast<std::int64_t>(std::round(share * static_cast<double>(of)));
}

// Which of `depths` trial `i` has: they take turns; few trials are spread over them.
double DepthOf(std::span<const double> depths, std::int64_t i, std::int64_t trials) {
  const std::int64_t count = std::ssize(depths);
  return depths[trials >= count ? i % count : (i * count + count / 2) / trials];
}

std::string KeyOf(std::uint64_t random) { return std::to_string(10'000 + random % 90'000); }

std::string Repeated(std::string_view text, std::int64_t count) {
  std::string all;
  for (std::int64_t i = 0; i < count; ++i) all += text;
  return all;
}

// Where the sentences of a text begin, and its end.
std::vector<std::size_t> SentenceStarts(std::string_view text) {
  std::vector<std::size_t> starts = {0};
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    const bool ends = text[i] == '.' || text[i] == '?' || text[i] == '!';
    if (ends && (text[i + 1] == ' ' || text[i + 1] == '\n')) starts.push_back(i + 2);
  }
  if (starts.back() < text.size()) starts.push_back(text.size());
  return starts;
}

}  // namespace

std::vector<EvalCase> PasskeyCases(const Tokenizer& tokenizer, std::int64_t context,
                                   std::int64_t trials, std::uint64_t seed) {
  std::vector<EvalCase> cases;
  for (std::int64_t i = 0; i < trials; ++i) {
    const std::uint64_t own_seed = seed + static_cast<std::uint64_t>(i);
    const std::string key = KeyOf(SplitMix64(own_seed).Next());
    const double depth = DepthOf(kPasskeyDepths, i, trials);
    const auto prompt_of = [&](std::int64_t filler) {
      const std::int64_t before = Share(depth, filler);
      return std::string(kPasskeyIntro) + Repeated(kFiller, before) + "The secret number is " +
             key + ". Remember it: " + key + " is the secret number.\n" +
             Repeated(kFiller, filler - before) + std::string(kPasskeyQuestion);
    };
    cases.push_back({.task = EvalTask::kPasskey,
                     .context = context,
                     .number = static_cast<std::int64_t>(own_seed),
                     .depth = depth,
                     .tokens = LongestPrompt(tokenizer, context, context, prompt_of),
                     .key = key});
  }
  return cases;
}

std::vector<EvalCase> NeedleCases(const Tokenizer& tokenizer, std::string_view text,
                                  std::int64_t context, std::int64_t trials, std::uint64_t seed) {
  const std::vector<std::size_t> starts = SentenceStarts(text);
  const std::int64_t sentences = std::ssize(starts) - 1, depths = std::ssize(kNeedleDepths);
  // No token is longer than some eight characters on average, and this much text is enough.
  const std::size_t enough = static_cast<std::size_t>(context) * 8;
  if (text.size() < enough) {
    Throw(ErrorCode::kInvalidArgument, "the text has {} bytes, questions at {} tokens need {}",
          text.size(), context, enough);
  }
  const std::int64_t last = std::upper_bound(starts.begin(), starts.end(), text.size() - enough) -
                            starts.begin();  // sentences before have enough behind them
  std::vector<EvalCase> cases;
  for (std::int64_t i = 0; i < trials; ++i) {
    const std::uint64_t own_seed = seed + static_cast<std::uint64_t>(i);
    const std::string key = KeyOf(SplitMix64(own_seed).Next());
    const double depth = DepthOf(kNeedleDepths, i, trials);
    // One part of the text for each round over the depths.
    SplitMix64 round(seed + static_cast<std::uint64_t>(i / depths) + (std::uint64_t{1} << 32));
    const std::int64_t first = round.Below(std::max<std::int64_t>(1, last));
    const auto prompt_of = [&](std::int64_t count) {
      const std::size_t begin = starts[first], end = starts[first + count];
      const std::size_t wanted =
          begin + static_cast<std::size_t>(Share(depth, static_cast<std::int64_t>(end - begin)));
      const auto after =
          std::lower_bound(starts.begin() + first, starts.begin() + first + count, wanted);
      const bool before_is_nearer =
          after != starts.begin() + first && wanted - *(after - 1) < *after - wanted;
      const std::size_t border = before_is_nearer ? *(after - 1) : *after;
      return std::string(text.substr(begin, border - begin)) + "The number of the blue boat is " +
             key + ". " + std::string(text.substr(border, end - border)) +
             std::string(kNeedleQuestion);
    };
    cases.push_back({.task = EvalTask::kNeedle,
                     .context = context,
                     .number = static_cast<std::int64_t>(own_seed),
                     .depth = depth,
                     .tokens = LongestPrompt(tokenizer, context, sentences - first, prompt_of),
                     .key = key});
  }
  return cases;
}

bool AnswersKey(std::string_view answer, std::string_view key) {
  std::string digits;
  for (const char c : answer) {
    if (c >= '0' && c <= '9') {
      digits += c;
    } else if (c != ' ' && !digits.empty()) {
      break;
    }
  }
  return digits == key;
}

}  // namespace foveate
