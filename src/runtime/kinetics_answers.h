// Files of answers to questions: JSON lines, each what some trials of one setting made of one
// question.
//
//   {"question": "aime24-7", "model": "qwen3-0.6b", "attention": "block:topk=64", "prompt": 180,
//    "generated": [8120, 4711], "correct": [false, true]}
//
// "setting" is another name of "attention"; "generated" is one number where all trials are equally
// long; flags may be 0 and 1. Other keys are left to those who write them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/kinetics.h"

namespace foveate {

inline constexpr std::int64_t kMostAnswerTrials = 10'000;  // of a line

using KineticsModels = std::map<std::string, KineticsModel, std::less<>>;  // by names in the file

struct AnswerSet {
  std::string question;
  std::string model;
  std::string attention;  // in full
  KineticsAttention kind;
  std::int64_t prompt = 0;              // tokens
  std::vector<std::int64_t> generated;  // tokens of each trial
  std::int64_t correct = 0;             // trials

  std::int64_t trials() const { return static_cast<std::int64_t>(generated.size()); }
};

// `prompt`: of lines that say nothing of it. Throws Error(kInvalidArgument) naming the file, the
// line and the field, what was found and what was expected.
std::vector<AnswerSet> ParseAnswerSets(std::string_view text, const std::string& file,
                                       const KineticsModels& models,
                                       std::optional<std::int64_t> prompt);

}  // namespace foveate
