// What a mechanism tells of itself: its names, its parameters and how to make it. One file in a
// folder of this room declares one mechanism; docs/add-a-mechanism.md shows how.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "attention/pattern.h"
#include "attention/selection.h"
#include "mechanisms/params.h"

namespace foveate {

// Another way to give parameters: its value is turned into those of others.
struct Shorthand {
  Param param;
  void (*expand)(const ParamValue& value, Params& params);
};

// A legal spec and a call that it serves, for help texts and for the tests of every mechanism.
struct Example {
  std::string_view spec;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
};

struct Mechanism {
  std::string_view name;
  std::vector<std::string_view> synonyms = {};
  std::string_view title;
  std::string_view paper;    // where it comes from
  std::string_view formula;  // attend(i, j): i is the position of the row, j the key
  std::string_view cost;     // pairs of a call
  std::string_view use;      // when to use it
  std::vector<Param> params = {};
  std::vector<Shorthand> shorthands = {};
  std::vector<Example> examples = {};

  // Whether parameters count the rows of one call, so that a chunk of a prompt needs its own.
  bool by_row = false;

  // The pattern of a softmax mechanism. Throws Error(kInvalidArgument) for values that do not fit
  // each other. Null: the mechanism is no pattern, so & and | do not apply to it.
  PatternPtr (*pattern)(const Params& params) = nullptr;

  // Likewise what makes the patterns of a mechanism that looks at queries and keys. A parameter
  // `dense_layers` of it is the number of a model's first layers that it leaves alone.
  SelectorPtr (*selector)(const Params& params) = nullptr;

  // Whether it acts on single rows only, the steps of decoding: the rows of a prompt see
  // everything.
  bool decoding_only = false;
};

}  // namespace foveate
