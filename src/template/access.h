// What is inside a value: attributes, items, slices, iteration.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "template/value.h"

namespace foveate::jinja {

// value.name: a method or what is stored under the name; undefined if there is neither.
Value GetAttribute(Runtime& runtime, const Value& object, std::string_view name);
// value[key]; undefined if there is no such item.
Value GetItem(Runtime& runtime, const Value& object, const Value& key);

struct SliceBounds {  // None where left out
  Value start = None{};
  Value stop = None{};
  Value step = None{};
};
Value Slice(Runtime& runtime, const Value& object, const SliceBounds& bounds);

// `item in container`.
bool Contains(Runtime& runtime, const Value& container, const Value& item);
// What a loop over the value visits: items, characters, keys; nothing for undefined.
std::vector<Value> Items(Runtime& runtime, const Value& value);
// len(value).
std::int64_t Length(Runtime& runtime, const Value& value);

}  // namespace foveate::jinja
