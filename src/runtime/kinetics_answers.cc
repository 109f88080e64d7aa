#include "runtime/kinetics_answers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "format/printable.h"

namespace foveate {
namespace {

using Json = nlohmann::json;

// What an error shows of a value; nested ones may be of any size and depth.
std::string Shown(const Json& value) {
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  return Printable(value.dump());
}

class LineReader {
 public:
  LineReader(std::string_view text, std::string place, const KineticsModels& models)
      : place_(std::move(place)), models_(models) {
    try {
      line_ = Json::parse(text);
    } catch (const Json::exception&) {
      Throw(ErrorCode::kInvalidArgument, "{}: not JSON, expected one object in a line", place_);
    }
    if (!line_.is_object()) {
      Throw(ErrorCode::kInvalidArgument, "{}: {}, expected an object", place_, Shown(line_));
    }
  }

  AnswerSet Read(std::optional<std::int64_t> prompt) const {
    AnswerSet set{.question = Question(), .model = Model()};
    ReadAttention(set);
    set.prompt = Prompt(prompt);
    const std::vector<bool> flags = Flags();
    set.correct = std::count(flags.begin(), flags.end(), true);
    set.generated = Generated(flags.size());
    return set;
  }

 private:
  [[noreturn]] void Refuse(std::string_view field, std::string_view found,
                           std::string_view expected) const {
    Throw(ErrorCode::kInvalidArgument, "{}: {}: {}, expected {}", place_, field, found, expected);
  }

  const Json& Field(const char* name, std::string_view expected) const {
    const auto found = line_.find(name);
    if (found == line_.end()) Refuse(name, "missing", expected);
    return *found;
  }

  std::string Text(const char* name, std::string_view expected) const {
    const Json& value = Field(name, expected);
    if (!value.is_string()) Refuse(name, Shown(value), expected);
    return value.get<std::string>();
  }

  std::int64_t Tokens(const Json& value, std::string_view field, std::int64_t least) const {
    const bool legal = value.is_number_integer() && value.get<double>() >= least &&
                       value.get<double>() <= kMostKineticsTokens;
    if (!legal) {
      Refuse(field, Shown(value),
             fmt::format("an integer from {} to {}", least, kMostKineticsTokens));
    }
    return value.get<std::int64_t>();
  }

  std::string Question() const {
    constexpr std::string_view kExpected = "text or an integer";
    const Json& value = Field("question", kExpected);
    if (value.is_number_integer()) return value.dump();
    return Text("question", kExpected);
  }

  std::string Model() const {
    std::vector<std::string> names;
    for (const auto& [name, model] : models_) names.push_back(name);
    const std::string expected = fmt::format("one of --model: {}", fmt::join(names, ", "));
    std::string name = Text("model", expected);
    if (!models_.contains(name)) Refuse("model", Printable(name), expected);
    return name;
  }

  void ReadAttention(AnswerSet& set) const {
    const bool synonym = line_.contains("setting");
    if (synonym && line_.contains("attention")) {
      Refuse("setting", "given besides attention", "one of them");
    }
    const char* field = synonym ? "setting" : "attention";
    const std::string text = Text(field, "a spec such as full, topk or block:topk=64");
    try {
      const AttentionSpec spec = ParseAttentionSpec(text, SpecFiles::kRefused);
      set.kind = KineticsAttentionOf(spec);
      set.attention = ToText(spec);
    } catch (const Error& error) {
      Throw(ErrorCode::kInvalidArgument, "{}: {}: {}", place_, field, error.what());
    }
  }

  std::int64_t Prompt(std::optional<std::int64_t> fallback) const {
    if (line_.contains("prompt")) return Tokens(line_["prompt"], "prompt", 0);
    if (!fallback) Refuse("prompt", "missing", "tokens here, or a single --prompt for all lines");
    return *fallback;
  }

  std::vector<bool> Flags() const {
    const std::string expected =
        fmt::format("a list of 1 to {} flags, one for each trial", kMostAnswerTrials);
    const Json& list = Field("correct", expected);
    if (!list.is_array()) Refuse("correct", Shown(list), expected);
    if (list.empty() || list.size() > kMostAnswerTrials) {
      Refuse("correct", fmt::format("{} flags", list.size()), expected);
    }
    std::vector<bool> flags;
    for (const Json& flag : list) {
      const bool legal =
          flag.is_boolean() || (flag.is_number_integer() && (flag == 0 || flag == 1));
      if (!legal) {
        Refuse(fmt::format("correct[{}]", flags.size()), Shown(flag), "true, false, 1 or 0");
      }
      flags.push_back(flag == true || flag == 1);
    }
    return flags;
  }

  std::vector<std::int64_t> Generated(std::size_t trials) const {
    const Json& value = Field("generated", "tokens of a trial, or a list with those of each");
    if (!value.is_array()) return std::vector(trials, Tokens(value, "generated", 1));
    if (value.size() != trials) {
      Refuse("generated", fmt::format("{} lengths", value.size()),
             fmt::format("{}, as many as flags in correct", trials));
    }
    std::vector<std::int64_t> lengths;
    for (const Json& length : value) {
      lengths.push_back(Tokens(length, fmt::format("generated[{}]", lengths.size()), 1));
    }
    return lengths;
  }

  std::string place_;  // file and line
  const KineticsModels& models_;
  Json line_;
};

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

std::vector<AnswerSet> ParseAnswerSets(std::string_view text, const std::string& file,
                                       const KineticsModels& models,
                                       std::optional<std::int64_t> prompt) {
  std::vector<AnswerSet> sets;
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (IsBlank(line)) continue;
    sets.push_back(LineReader(line, fmt::format("{}:{}", file, number), models).Read(prompt));
  }
  if (sets.empty()) {
    Throw(ErrorCode::kInvalidArgument, "{}: empty, expected a line of JSON for each answer set",
          file);
  }
  return sets;
}

}  // namespace foveate
