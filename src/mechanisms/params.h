// The parameters of mechanisms: what a mechanism declares (Param) and the values of one use of it
// (Params), which have been held against the declaration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace foveate {

struct Mechanism;

enum class ParamType {
  kInteger,
  kReal,
  kBool,
  kWord,    // one of Param::words
  kList,    // integers; or one of Param::words, if there are any
  kAxes,    // integers, one for each axis of a grid; or one for all axes
  kTuples,  // a list of tuples of `arity` integers
  kFile,    // a path, which is read when the spec is made
};

// Lengths and counts stop here, so that the product of two stays within 64 bits.
inline constexpr double kMostCount = 2147483647;

struct Param {
  std::string_view key;
  ParamType type = ParamType::kInteger;
  std::string_view help;
  std::string_view fallback = {};  // as in a text spec; empty: required; "none": may be left out
  double least = 0;                // of numbers, also those in lists
  double most = kMostCount;
  std::vector<std::string_view> words =
      {};  // of kWord and kList; of kTuples: names of the last member's 0, 1..
  int arity = 1;
};

using IntegerList = std::vector<std::int64_t>;

// Nothing: not given. Tuples lie flat, one after the other.
using ParamValue =
    std::variant<std::monostate, std::int64_t, double, bool, std::string, IntegerList>;

class Params {
 public:
  explicit Params(const Mechanism& mechanism);

  const Mechanism& mechanism() const { return *mechanism_; }

  // The value of a declared key; asking for another type than declared is a programming mistake.
  bool Has(std::string_view key) const;
  std::int64_t Integer(std::string_view key) const;
  double Real(std::string_view key) const;
  bool Bool(std::string_view key) const;
  const std::string& Word(std::string_view key) const;  // also of kFile
  const IntegerList& List(std::string_view key) const;  // also of kAxes and kTuples
  const ParamValue& Value(std::string_view key) const;

  // Throws Error(kInvalidArgument) if the key has a value already.
  void Set(std::string_view key, ParamValue value);

  // Gives what is not set its default. Throws Error(kInvalidArgument) naming what is required.
  void Complete();

  bool operator==(const Params&) const = default;

 private:
  std::size_t Index(std::string_view key) const;

  const Mechanism* mechanism_;
  std::vector<ParamValue> values_;  // in the order of the declaration
};

// What a legal value looks like: "an integer from 1 to 64".
std::string Expected(const Param& param);

// The value that a text or JSON spec gives. Throws Error(kInvalidArgument) naming mechanism, key,
// value and what was expected; "none" is nothing.
ParamValue ParamFromText(const Mechanism& mechanism, const Param& param, std::string_view text);

// The text that gives this value again; "none" for nothing.
std::string ParamToText(const Param& param, const ParamValue& value);

// Throws Error(kInvalidArgument): `shown` is no legal value of the parameter.
[[noreturn]] void RefuseParam(const Mechanism& mechanism, const Param& param,
                              std::string_view shown);

// Whether a text spec can hold this path, alone and in a list of specs.
bool IsPath(std::string_view text);

// Whether every number of the value is within the declared range.
bool InRange(const Param& param, const ParamValue& value);

}  // namespace foveate
