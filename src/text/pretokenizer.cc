#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/throw.h"

namespace foveate {
namespace {

// The patterns are those published with the models, with changes that keep their meaning.
// `\s` is spelled out as the 25 code points of White_Space (PCRE2's own adds U+180E): in a class,
// `~b` stands for those that are neither \r nor \n, and `~s` for all. `\s*[\r\n]+` is written so
// that it never backtracks over a long run. Groups capture nothing.
constexpr std::string_view kBlanks =
    R"(\x{9}\x{B}\x{C}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F})"
    R"(\x{3000})";

constexpr const char* kEveryNumeral = R"(\p{N})";

constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^~s\p{L}\p{N}]+|[~s]+(?![^~s])|[~s]+)";

constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^~s\p{L}\p{N}]+[\r\n]*)"
    R"(|(?:[~b]*+[\r\n]++)++|[~s]+(?![^~s])|[~s]+)";

constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^~s\p{L}\p{N}]+[\r\n]*)"
    R"(|(?:[~b]*+[\r\n]++)++|[~s]+(?![^~s])|[~s]+)";

constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^~s\p{L}\p{N}]+[\r\n/]*)"
    R"(|(?:[~b]*+[\r\n]++)++|[~s]+(?![^~s])|[~s]+)";

constexpr const char* kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr const char* kGpt2WithoutLast =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^~s\p{L}\p{N}]+|[~s]+(?![^~s]))";
constexpr const char* kNumerals = R"(\p{N}+)";
constexpr const char* kThreeDigits = R"([0-9][0-9][0-9])";

constexpr std::size_t kMostStages = 4;

// Each stage splits every piece of the one before into its matches and the gaps between them.
struct Rule {
  std::array<const char*, kMostStages> stages;
  bool ignores_merges = false;
  bool adds_bos = false;
};

constexpr Rule kRuleDigitsThenGpt2 = {{kEveryNumeral, kGpt2}};
constexpr Rule kRuleGpt2 = {{kGpt2}};
constexpr Rule kRuleLlama3 = {{kLlama3}, true, true};
constexpr Rule kRuleGlm4 = {{kLlama3}, true, false};
constexpr Rule kRuleTekken = {{kTekken}, true, true};
constexpr Rule kRuleQwen2 = {{kQwen2}};
constexpr Rule kRuleDefault = {{kPunctuation, kGpt2WithoutLast, kNumerals, kThreeDigits}};

struct NamedRule {
  const char* name;
  const Rule* rule;
};

constexpr NamedRule kRules[] = {
    {"codeshell", &kRuleDigitsThenGpt2},
    {"command-r", &kRuleDigitsThenGpt2},
    {"deepseek-r1-qwen", &kRuleQwen2},
    {"default", &kRuleDefault},
    {"exaone", &kRuleDigitsThenGpt2},
    {"falcon3", &kRuleLlama3},
    {"glm4", &kRuleGlm4},
    {"gpt-2", &kRuleGpt2},
    {"jais", &kRuleGpt2},
    {"llama-bpe", &kRuleLlama3},
    {"llama-v3", &kRuleLlama3},
    {"llama3", &kRuleLlama3},
    {"minerva", &kRuleDigitsThenGpt2},
    {"mpt", &kRuleGpt2},
    {"olmo", &kRuleGpt2},
    {"qwen2", &kRuleQwen2},
    {"refact", &kRuleDigitsThenGpt2},
    {"smollm", &kRuleDigitsThenGpt2},
    {"stablelm2", &kRuleQwen2},
    {"starcoder", &kRuleDigitsThenGpt2},
    {"tekken", &kRuleTekken},
};

const Rule& RuleNamed(std::string_view name) {
  std::string known;
  for (const NamedRule& rule : kRules) {
    if (rule.name == name) return *rule.rule;
    known += known.empty() ? "" : ", ";
    known += rule.name;
  }
  Throw(ErrorCode::kUnsupported,
        "unknown pre-tokeniser \"{}\" (tokenizer.ggml.pre or --pre); known are {}", name, known);
}

struct CodeFree {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataFree {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

// One compiled pattern; immutable, shared by all threads.
struct Pattern {
  std::unique_ptr<pcre2_code, CodeFree> code;
  bool jit = false;

  explicit Pattern(std::string source) {
    for (std::size_t at; (at = source.find("~s")) != std::string::npos;) {
      source.replace(at, 2, R"(\r\n~b)");
    }
    for (std::size_t at; (at = source.find("~b")) != std::string::npos;) {
      source.replace(at, 2, kBlanks);
    }
    int error = 0;
    PCRE2_SIZE offset = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr));
    if (!code) {
      Throw(ErrorCode::kUnsupported, "PCRE2 cannot compile a pre-tokeniser (error {} at {})", error,
            offset);
    }
    jit = pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE) == 0;
  }
};

}  // namespace

struct Pretokenizer::Impl {
  const Rule& rule;
  std::vector<Pattern> stages;

  explicit Impl(const Rule& named) : rule(named) {
    for (const char* source : rule.stages) {
      if (source != nullptr) stages.emplace_back(source);
    }
  }
};

Pretokenizer::Pretokenizer(std::string_view name)
    : impl_(std::make_unique<const Impl>(RuleNamed(name))) {}
Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;

bool Pretokenizer::ignores_merges() const { return impl_->rule.ignores_merges; }
bool Pretokenizer::adds_bos_by_default() const { return impl_->rule.adds_bos; }

struct Pretokenizer::Reader::State {
  // What one stage has not handed out yet: a match found behind a gap, and the text behind it.
  struct Stage {
    std::string_view match;
    std::string_view rest;
  };

  std::span<const Pattern> patterns;
  std::array<Stage, kMostStages> stages;
  std::unique_ptr<pcre2_match_data, MatchDataFree> data;

  bool Next(std::size_t stage, std::string_view& piece);
  // The first non-empty match in `text`, or its empty end.
  std::string_view Search(const Pattern& pattern, std::string_view text);
};

std::string_view Pretokenizer::Reader::State::Search(const Pattern& pattern,
                                                     std::string_view text) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  if (pattern.jit) {
    found = pcre2_jit_match(pattern.code.get(), subject, text.size(), 0, 0, data.get(), nullptr);
  }
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its state on the heap
    found = pcre2_match(pattern.code.get(), subject, text.size(), 0,
                        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), nullptr);
  }
  if (found == PCRE2_ERROR_NOMATCH) return text.substr(text.size());
  if (found < 0) {
    Throw(ErrorCode::kLimit, "the pre-tokeniser gives up on {} bytes of text (PCRE2 error {})",
          text.size(), found);
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
  return text.substr(bounds[0], bounds[1] - bounds[0]);
}

// The depth of this recursion is the number of stages.
bool Pretokenizer::Reader::State::Next(std::size_t stage, std::string_view& piece) {
  Stage& own = stages[stage];
  if (!own.match.empty()) {
    piece = std::exchange(own.match, {});
    return true;
  }
  while (own.rest.empty()) {
    if (stage == 0 || !Next(stage - 1, own.rest)) return false;
  }
  const std::string_view match = Search(patterns[stage], own.rest);
  const auto gap = static_cast<std::size_t>(match.data() - own.rest.data());
  if (match.empty()) {
    piece = std::exchange(own.rest, {});
  } else if (gap > 0) {
    piece = own.rest.substr(0, gap);
    own.match = match;
  } else {
    piece = match;
  }
  if (!match.empty()) own.rest.remove_prefix(gap + match.size());
  return true;
}

Pretokenizer::Reader::Reader(const Pretokenizer& pretokenizer, std::string_view text)
    : state_(std::make_unique<State>()) {
  state_->patterns = pretokenizer.impl_->stages;
  state_->stages[0].rest = text;
  state_->data.reset(pcre2_match_data_create(1, nullptr));
  if (!state_->data) Throw(ErrorCode::kLimit, "no memory for the pre-tokeniser");
}
Pretokenizer::Reader::~Reader() = default;

bool Pretokenizer::Reader::Next(std::string_view& piece) {
  return state_->Next(state_->patterns.size() - 1, piece);
}

}  // namespace foveate
