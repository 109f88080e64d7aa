#include <algorithm>

#include "template/builtins.h"
#include "template/fault.h"

namespace foveate::jinja {

BoundArgs::BoundArgs(std::string_view function, const Args& args,
                     std::initializer_list<std::string_view> parameters)
    : function_(function), values_(parameters.size(), nullptr) {
  if (args.positional.size() > parameters.size()) {
    Fail("{}() takes at most {} arguments, got {}", function, parameters.size(),
         args.positional.size());
  }
  for (std::size_t i = 0; i < args.positional.size(); ++i) values_[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* parameter = std::find(parameters.begin(), parameters.end(), name);
    if (parameter == parameters.end()) Fail("{}() has no parameter '{}'", function, name);
    const Value*& slot = values_[parameter - parameters.begin()];
    if (slot != nullptr) Fail("{}() got '{}' twice", function, name);
    slot = &value;
  }
}

const Value& BoundArgs::Get(std::size_t index) const {
  if (values_[index] == nullptr) Fail("{}() needs argument {}", function_, index + 1);
  return *values_[index];
}

std::int64_t BoundArgs::Integer(std::size_t index, std::int64_t otherwise) const {
  const Value* value = values_[index];
  if (value == nullptr) return otherwise;
  if (!IsInteger(*value)) {
    Fail("{}() needs an integer as argument {}, got {}", function_, index + 1, TypeName(*value));
  }
  return ToInteger(*value);
}

bool BoundArgs::Truth(std::size_t index, bool otherwise) const {
  return values_[index] == nullptr ? otherwise : Truthy(*values_[index]);
}

const Text* BoundArgs::String(std::size_t index) const {
  const Value* value = values_[index];
  if (value == nullptr || IsNone(*value)) return nullptr;
  if (AsText(*value) == nullptr) {
    Fail("{}() needs a string as argument {}, got {}", function_, index + 1, TypeName(*value));
  }
  return AsText(*value);
}

}  // namespace foveate::jinja
