// The values that templates compute with, and Python's rules for truth, equality and order.
//
// Lists, dicts and namespaces can be changed through any name that refers to them, so they may come
// to contain themselves. They therefore live in the Runtime of one rendering and are freed together
// at its end; values only point at them.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "template/text.h"

namespace foveate::jinja {

class Runtime;
class Scope;
struct Args;
struct Dict;
struct Function;
struct List;
struct LoopState;
struct Macro;
struct MacroStatement;
struct Method;
struct Namespace;

// What a missing name or item gives: prints as nothing, is false, and any other use fails with
// `what` ("'tools' is undefined").
struct Undefined {
  std::shared_ptr<const std::string> what;
};
struct None {};
using TextPtr = std::shared_ptr<const Text>;

using Value =
    std::variant<Undefined, None, bool, std::int64_t, double, TextPtr, List*, Dict*, Namespace*,
                 std::shared_ptr<LoopState>, const Macro*, const Method*, const Function*>;

struct List {
  std::vector<Value> items;
  bool is_tuple = false;  // prints with parentheses and cannot be changed
};

// Keys in the order of insertion, found by linear search: chat data have few keys, and the search
// is charged for.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
};

struct Namespace {
  Dict attributes;
};

// What `loop` refers to. The items are a copy: the body may change the list it runs over.
struct LoopState {
  std::vector<Value> items;
  std::int64_t index = 0;
};

// A macro sees the variables of the block that defines it; once that block has ended, it is gone.
struct Macro {
  const MacroStatement* definition = nullptr;
  std::weak_ptr<Scope> scope;
};

// Code behind a name: a global function (`subject` is undefined), a filter or test (`subject` is
// what stands before it) or a method (`subject` is its object).
struct Function {
  std::string_view name;
  Value (*call)(Runtime& runtime, const Value& subject, const Args& args);
};

struct Method {
  Value subject;
  const Function* function = nullptr;
};

template <typename... Args>
Undefined MakeUndefined(fmt::format_string<Args...> format, Args&&... args) {
  return {std::make_shared<const std::string>(fmt::format(format, std::forward<Args>(args)...))};
}

// The value's type as Python names it: "str", "NoneType".
std::string_view TypeName(const Value& value);
bool IsUndefined(const Value& value);
bool IsNone(const Value& value);
// The text of a string, or nullptr.
const Text* AsText(const Value& value);
// Whether the value is a bool, an int or a float, which mix in arithmetic and comparisons.
bool IsNumber(const Value& value);
double ToDouble(const Value& number);
// Whether the value is an int or a bool, and the number it stands for.
bool IsInteger(const Value& value);
std::int64_t ToInteger(const Value& integer);

bool Truthy(const Value& value);
bool Equal(Runtime& runtime, const Value& a, const Value& b);
// Fails for values that Python cannot order.
std::partial_ordering Order(Runtime& runtime, const Value& a, const Value& b);

// The indices of `keys` in ascending (or with `reverse` descending) order; equal ones keep theirs.
// Fails for keys without an order.
std::vector<std::size_t> SortedOrder(Runtime& runtime, const std::vector<Value>& keys,
                                     bool reverse);

// The value of `key`, or nullptr.
Value* Find(Runtime& runtime, Dict& dict, const Value& key);
Value* Find(Runtime& runtime, Dict& dict, std::string_view key);
// Fails for a key that can change (a list, a dict).
void Set(Runtime& runtime, Dict& dict, const Value& key, Value value);

}  // namespace foveate::jinja
