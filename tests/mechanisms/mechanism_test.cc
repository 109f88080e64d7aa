// Every registered mechanism, held against its definition, its declaration and the rules of
// prefill.
#include "mechanisms/mechanism.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "base/throw.h"
#include "mechanisms/registry.h"
#include "mechanisms/spec.h"
#include "tests/mechanisms/definition.h"
#include "tests/mechanisms/random_spec.h"
#include "tests/support/pattern_check.h"

namespace foveate {
namespace mechanisms {
Mechanism skip();  // softmax/skip.cc
}

namespace {

using namespace testing;

class EveryMechanism : public ::testing::TestWithParam<const Mechanism*> {
 protected:
  const Mechanism& mechanism() const { return *GetParam(); }

  struct Case {
    AttentionSpec spec;
    AttentionShape shape;
    std::string text;
    const PatternPtr& pattern() const { return spec.At(0, 0).pattern; }
  };

  static Case Parsed(const AttentionSpec& spec, const AttentionShape& shape) {
    return {spec, shape, fmt::format("{} n{} m{}", ToText(spec), shape.queries, shape.keys)};
  }

  // The mechanism's examples, and draws where its parameters can be drawn.
  std::vector<Case> Cases(int draws) const {
    std::vector<Case> cases;
    for (const Example& example : mechanism().examples) {
      cases.push_back(Parsed(ParseAttentionSpec(example.spec), {example.queries, example.keys}));
    }
    Draw draw{std::mt19937(7)};
    // What looks at keys has rules between its parameters that a draw does not know.
    for (int i = 0; i < draws && mechanism().selector == nullptr; ++i) {
      const AttentionShape shape = RandomShape(mechanism(), draw);
      if (const auto spec = SpecDraw(mechanism(), shape, draw)()) {
        cases.push_back(Parsed(ParseAttentionJson(spec->dump()), shape));
      }
    }
    return cases;
  }
};

// Those that do not look at queries and keys.
class EveryPattern : public EveryMechanism {};

// Those that are not cut anew for every call.
class EveryPatternOfPositions : public EveryMechanism {};

TEST_P(EveryMechanism, DeclaresItself) {
  EXPECT_EQ(&FindMechanism(mechanism().name), &mechanism());
  for (const auto& synonym : mechanism().synonyms) {
    EXPECT_EQ(&FindMechanism(synonym), &mechanism());
  }
  for (const auto text : {mechanism().title, mechanism().paper, mechanism().formula,
                          mechanism().cost, mechanism().use}) {
    EXPECT_FALSE(text.empty());
  }
  EXPECT_FALSE(mechanism().examples.empty());
  std::set<std::string_view> keys;
  for (const Param& param : mechanism().params) {
    EXPECT_TRUE(keys.insert(param.key).second) << param.key;
    EXPECT_FALSE(param.help.empty()) << param.key;
    EXPECT_EQ(param.type == foveate::ParamType::kTuples, param.arity > 1) << param.key;
    if (param.type == foveate::ParamType::kWord) {
      EXPECT_FALSE(param.words.empty()) << param.key;
    }
    if (!param.fallback.empty()) ParamFromText(mechanism(), param, param.fallback);
  }
}

TEST_P(EveryMechanism, SpecsPrintAndParseToTheSame) {
  for (const Case& c : Cases(20)) {
    SCOPED_TRACE(c.text);
    const std::string text = ToText(c.spec), json = ToJson(c.spec);
    EXPECT_EQ(ToText(ParseAttentionSpec(text)), text);
    EXPECT_EQ(ToJson(ParseAttentionSpec(text)), json);
    EXPECT_EQ(ToText(ParseAttentionSpec(json)), text);
  }
}

TEST_P(EveryPattern, PatternAgreesWithItsDefinition) {
  for (const Case& c : Cases(60)) {
    const Definition definition(nlohmann::json::parse(ToJson(c.spec)), c.shape.queries,
                                c.shape.keys);
    ASSERT_TRUE(definition.known()) << "tests/mechanisms/definition.h lacks " << mechanism().name;
    c.pattern()->Check(c.shape);
    const Mask mask = MaskOf(*c.pattern(), c.shape);
    for (std::int64_t r = 0; r < c.shape.queries; ++r) {
      for (std::int64_t j = 0; j < c.shape.keys; ++j) {
        ASSERT_EQ(mask[r][j], definition(r, j)) << c.text << " row " << r << " key " << j;
      }
    }
  }
}

TEST_P(EveryPattern, BitsCoverAndSchedulesAgreeWithThePattern) {
  std::mt19937 random(3);
  for (const Case& c : Cases(60)) {
    SCOPED_TRACE(c.text);
    ExpectPatternHolds(c.pattern(), c.shape, random);
    if (HasFatalFailure()) return;
  }
}

// A chunk of a prompt sees what the whole prompt sees, unless some row looks behind the chunk.
TEST_P(EveryPatternOfPositions, ChunksSeeTheKeysOfTheWholePrompt) {
  Draw draw{std::mt19937(11)};
  int compared = 0;
  for (const Case& drawn : Cases(60)) {
    const std::int64_t length = drawn.shape.keys;
    const Pattern& pattern = *drawn.pattern();
    const Mask whole = MaskOf(pattern, {length, length});
    for (int cut = 0; cut < 6; ++cut) {
      const std::int64_t end = cut < 3 ? length : draw(1, length);
      const std::int64_t begin = draw(0, end - 1);
      const AttentionShape chunk{end - begin, end};
      try {
        pattern.Check(chunk);
      } catch (const Error&) {
        continue;  // needs the keys behind the chunk
      }
      for (std::int64_t position = begin; position < end; ++position) {
        const auto& row = whole[position];
        if (std::find(row.begin() + end, row.end(), true) != row.end()) continue;
        for (std::int64_t key = 0; key < end; ++key) {
          ASSERT_EQ(pattern.Attends(chunk, position - begin, key), row[key])
              << drawn.text << " chunk " << begin << " to " << end << " position " << position;
        }
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 0);
}

TEST_P(EveryPattern, KeptKeysAreAllThatLaterRowsSee) {
  for (const Case& c : Cases(60)) {
    SCOPED_TRACE(c.text);
    // Where rows are cut apart from keys, only their own call has an order in time.
    if (mechanism().by_row && c.shape.queries != c.shape.keys) continue;
    ExpectKeptHolds(*c.pattern(), std::min<std::int64_t>(c.shape.keys, 60));
    if (HasFatalFailure()) return;
  }
}

TEST_P(EveryMechanism, BadParametersAreRefusedByName) {
  const nlohmann::json good =
      nlohmann::json::parse(ToJson(ParseAttentionSpec(mechanism().examples.front().spec)));
  const auto expect_refusal = [&](const nlohmann::json& spec, std::string_view key) {
    try {
      ParseAttentionJson(spec.dump());
      ADD_FAILURE() << spec << " is accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
    }
  };
  nlohmann::json other = good;
  other["no_such_key"] = 1;
  expect_refusal(other, "no_such_key");
  for (const Param& param : mechanism().params) {
    const std::string key(param.key);
    std::vector<nlohmann::json> bad = {"nonsense", {{"a", 1}}, {1.5}, {nullptr}};
    if (param.type == foveate::ParamType::kInteger) bad.push_back(param.least - 1);
    if (param.type == foveate::ParamType::kInteger) bad.push_back(param.most + 1);
    if (param.type == foveate::ParamType::kList) bad.push_back({static_cast<int>(param.least) - 1});
    if (param.type == foveate::ParamType::kBool) bad.push_back(2);
    if (param.type == foveate::ParamType::kAxes) {
      bad.push_back({static_cast<int>(param.least) - 1});
    }
    for (const nlohmann::json& value : bad) {
      nlohmann::json spec = good;
      spec[key] = value;
      expect_refusal(spec, key);
    }
    if (param.fallback.empty()) {
      nlohmann::json spec = good;
      spec.erase(key);
      expect_refusal(spec, key);
      spec[key] = nullptr;
      expect_refusal(spec, key);
    }
  }
}

std::vector<const Mechanism*> Chosen(bool (*wanted)(const Mechanism&)) {
  std::vector<const Mechanism*> chosen;
  for (const Mechanism& mechanism : Mechanisms()) {
    if (wanted(mechanism)) chosen.push_back(&mechanism);
  }
  return chosen;
}
bool Any(const Mechanism&) { return true; }
bool IsPattern(const Mechanism& mechanism) { return mechanism.pattern != nullptr; }
bool IsOfPositions(const Mechanism& mechanism) {
  return mechanism.pattern != nullptr && !mechanism.by_row;
}

std::string NameOf(const ::testing::TestParamInfo<const Mechanism*>& info) {
  return std::string(info.param->name);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMechanism, ::testing::ValuesIn(Chosen(Any)), NameOf);
INSTANTIATE_TEST_SUITE_P(Registry, EveryPattern, ::testing::ValuesIn(Chosen(IsPattern)), NameOf);
INSTANTIATE_TEST_SUITE_P(Registry, EveryPatternOfPositions,
                         ::testing::ValuesIn(Chosen(IsOfPositions)), NameOf);

TEST(Registry, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const Mechanism& mechanism : Mechanisms()) {
    EXPECT_TRUE(names.insert(mechanism.name).second) << mechanism.name;
    for (const auto& synonym : mechanism.synonyms) {
      EXPECT_TRUE(names.insert(synonym).second) << synonym;
    }
  }
  EXPECT_GE(names.size(), 22u);
}

// The file that docs/add-a-mechanism.md shows, which is not in the registry.
TEST(AddAMechanism, TheExampleWorks) {
  const Mechanism mechanism = mechanisms::skip();
  const AttentionShape shape{90, 130};
  Params params(mechanism);
  params.Set("gap", ParamFromText(mechanism, mechanism.params.front(), "7"));
  params.Complete();
  const PatternPtr pattern = mechanism.pattern(params);
  for (std::int64_t row = 0; row < shape.queries; ++row) {
    const std::int64_t i = shape.Position(row);
    for (std::int64_t j = 0; j < shape.keys; ++j) {
      ASSERT_EQ(pattern->Attends(shape, row, j), j == i || i - j >= 7);
    }
  }
  std::mt19937 random(1);
  ExpectPatternHolds(pattern, shape, random);
}

TEST(KeptKeys, AreNoMoreThanLaterRowsSee) {
  const auto kept = [](std::string_view spec) {
    return ParseAttentionSpec(spec).At(0, 0).pattern->Kept();
  };
  EXPECT_EQ(kept("window:left=7,right=0")->last, 7);
  EXPECT_EQ(kept("sink_window:sink=3,left=7")->first, 3);
  EXPECT_EQ(kept("sink_window:sink=3,left=7")->last, 7);
  EXPECT_EQ(kept("dilated:dilation=5,count=4")->last, 15);
  EXPECT_EQ(kept("document_window:cu=0/9/30,left=2")->last, 2);
  for (const char* all :
       {"full", "causal", "window:left=-1,right=0", "power", "global_window:left=2,global=3"}) {
    EXPECT_FALSE(kept(all)) << all;
  }
}

}  // namespace
}  // namespace foveate
