// The functions, filters, tests and methods that templates can use. Nothing else is callable.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "template/value.h"

namespace foveate::jinja {

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

// Each returns nullptr for an unknown name.
const Function* FindFilter(std::string_view name);
const Function* FindTest(std::string_view name);
const Function* FindFunction(std::string_view name);
// The method of a value of this type.
const Function* FindMethod(const Value& object, std::string_view name);

// Arguments in the order of a function's parameters. Constructing it fails for too many, unknown or
// repeated arguments; `function` is named in errors.
class BoundArgs {
 public:
  BoundArgs(std::string_view function, const Args& args,
            std::initializer_list<std::string_view> parameters);

  // The argument, or nullptr where none was given.
  const Value* Find(std::size_t index) const { return values_[index]; }
  // The argument; fails where none was given.
  const Value& Get(std::size_t index) const;
  std::int64_t Integer(std::size_t index, std::int64_t otherwise) const;
  bool Truth(std::size_t index, bool otherwise) const;
  // A string; nullptr where none, or none (the value), was given.
  const Text* String(std::size_t index) const;

 private:
  std::string_view function_;
  std::vector<const Value*> values_;
};

// Fails for any.
inline void TakesNoArguments(std::string_view function, const Args& args) {
  const BoundArgs none(function, args, {});
}

}  // namespace foveate::jinja
