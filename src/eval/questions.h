// Questions that only an early part of a long prompt answers.
//
//   passkey  a number hidden in repeated filler (Mohtashami and Jaggi 2023, arXiv 2305.16300)
//   needle   a number hidden in a real text (Kamradt 2023)
//
// Both in words of our own, as plain text without a chat template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eval/eval_case.h"

namespace foveate {

// Depths at which numbers are hidden.
inline constexpr double kPasskeyDepths[] = {0.1, 0.3, 0.5, 0.7, 0.9};
inline constexpr double kNeedleDepths[] = {0, 0.25, 0.5, 0.75, 1};

inline constexpr std::int64_t kAnswerTokens = 8;

// `trials` questions at a context, seeds from `seed` on. They take turns over the depths; those of
// a round share what stands before the number. Throws Error(kInvalidArgument) for a context without
// room for the question.
std::vector<EvalCase> PasskeyCases(const Tokenizer& tokenizer, std::int64_t context,
                                   std::int64_t trials, std::uint64_t seed);

// The same with parts of `text`, cut where sentences end. Throws Error(kInvalidArgument) also for a
// text that is too short.
std::vector<EvalCase> NeedleCases(const Tokenizer& tokenizer, std::string_view text,
                                  std::int64_t context, std::int64_t trials, std::uint64_t seed);

// Whether the first run of digits of an answer, spaces left out, is the key.
bool AnswersKey(std::string_view answer, std::string_view key);

}  // namespace foveate
