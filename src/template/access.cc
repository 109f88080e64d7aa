#include "template/access.h"

#include <algorithm>
#include <string>
#include <utility>

#include "template/builtins.h"
#include "template/fault.h"
#include "template/runtime.h"
#include "template/strings.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

Value LoopAttribute(const LoopState& loop, std::string_view name) {
  const auto length = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return loop.index + 1;
  if (name == "index0") return loop.index;
  if (name == "revindex") return length - loop.index;
  if (name == "revindex0") return length - loop.index - 1;
  if (name == "first") return loop.index == 0;
  if (name == "last") return loop.index + 1 == length;
  if (name == "length") return length;
  if (name == "depth") return std::int64_t{1};
  if (name == "depth0") return std::int64_t{0};
  if (name == "previtem" && loop.index > 0 && loop.index <= length) {
    return loop.items[loop.index - 1];
  }
  if (name == "nextitem" && loop.index + 1 < length) return loop.items[loop.index + 1];
  return MakeUndefined("there is no loop.{}", name);
}

Undefined NoAttribute(const Value& object, std::string_view name) {
  return MakeUndefined("a value of type {} has no attribute '{}'", TypeName(object), name);
}

// The attribute of a value that holds no items under names.
Value MethodOf(Runtime& runtime, const Value& object, std::string_view name) {
  if (const Function* method = FindMethod(object, name)) {
    return runtime.NewMethod({object, method});
  }
  return NoAttribute(object, name);
}

// `index` counted from the end if negative; -1 if there is no such item.
std::int64_t Position(std::int64_t index, std::int64_t length) {
  if (index < 0) index += length;
  return index >= 0 && index < length ? index : -1;
}

Value CharacterAt(Runtime& runtime, const Text& text, std::int64_t index) {
  runtime.ChargeBytes(text.size());
  const std::int64_t position = Position(index, CountChars(text.bytes()));
  if (position < 0) return MakeUndefined("the text has no character {}", index);
  const std::int64_t begin = CharOffset(text.bytes(), position);
  return runtime.NewText(text.Sub(begin, begin + CharLength(text.bytes(), begin)));
}

// What Python's slice.indices() computes: which items, in which order.
struct SliceRange {
  std::int64_t start;
  std::int64_t step;
  std::int64_t count;
};

std::int64_t BoundOf(const Value& bound, std::int64_t otherwise, std::int64_t length,
                     bool backwards) {
  if (IsNone(bound)) return otherwise;
  if (!IsInteger(bound)) Fail("a slice bound must be an integer, got {}", TypeName(bound));
  std::int64_t index = ToInteger(bound);
  const std::int64_t low = backwards ? -1 : 0;
  const std::int64_t high = backwards ? length - 1 : length;
  if (index < 0) index = index < -length ? low : index + length;
  return std::clamp(index, low, std::max(low, high));
}

SliceRange Resolve(const SliceBounds& bounds, std::int64_t length) {
  if (!IsNone(bounds.step) && !IsInteger(bounds.step)) {
    Fail("a slice step must be an integer, got {}", TypeName(bounds.step));
  }
  std::int64_t step = IsNone(bounds.step) ? 1 : ToInteger(bounds.step);
  if (step == 0) Fail("a slice step cannot be zero");
  // Longer strides than the list pick one item just the same, and cannot overflow.
  step = std::clamp(step, -length - 1, length + 1);
  const bool backwards = step < 0;
  const std::int64_t start = BoundOf(bounds.start, backwards ? length - 1 : 0, length, backwards);
  const std::int64_t stop = BoundOf(bounds.stop, backwards ? -1 : length, length, backwards);
  const std::int64_t distance = backwards ? start - stop : stop - start;
  const std::int64_t stride = backwards ? -step : step;
  return {start, step, distance <= 0 ? 0 : (distance - 1) / stride + 1};
}

Value SliceText(Runtime& runtime, const Text& text, const SliceBounds& bounds) {
  runtime.ChargeBytes(text.size());
  const std::string& bytes = text.bytes();
  const SliceRange range = Resolve(bounds, CountChars(bytes));
  if (range.step == 1 || range.count == 0) {
    const std::int64_t begin = CharOffset(bytes, range.start);
    const std::string_view rest = std::string_view(bytes).substr(begin);
    return runtime.NewText(text.Sub(begin, begin + CharOffset(rest, range.count)));
  }
  std::vector<std::int64_t> offsets;
  for (std::int64_t at = 0; at < text.size(); at += CharLength(bytes, at)) offsets.push_back(at);
  runtime.ChargeItems(static_cast<std::int64_t>(offsets.size()));
  Text slice;
  for (std::int64_t i = 0; i < range.count; ++i) {
    const std::int64_t begin = offsets[range.start + i * range.step];
    slice.AppendPart(text, begin, begin + CharLength(bytes, begin));
  }
  return runtime.NewText(std::move(slice));
}

}  // namespace

Value GetAttribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (const Undefined* undefined = std::get_if<Undefined>(&object)) Fail("{}", *undefined->what);
  if (const auto* loop = std::get_if<std::shared_ptr<LoopState>>(&object)) {
    if (name == "cycle") return MethodOf(runtime, object, name);
    return LoopAttribute(**loop, name);
  }
  Dict* items = nullptr;
  if (Namespace* const* space = std::get_if<Namespace*>(&object)) items = &(*space)->attributes;
  if (Dict* const* dict = std::get_if<Dict*>(&object)) {
    if (FindMethod(object, name) != nullptr) return MethodOf(runtime, object, name);
    items = *dict;
  }
  if (items == nullptr) return MethodOf(runtime, object, name);
  const Value* value = Find(runtime, *items, name);
  return value != nullptr ? *value : Value(NoAttribute(object, name));
}

Value GetItem(Runtime& runtime, const Value& object, const Value& key) {
  if (const Undefined* undefined = std::get_if<Undefined>(&object)) Fail("{}", *undefined->what);
  if (Dict* const* dict = std::get_if<Dict*>(&object)) {
    if (const Value* value = Find(runtime, **dict, key)) return *value;
  }
  if (IsInteger(key)) {
    const std::int64_t index = ToInteger(key);
    if (const Text* text = AsText(object)) return CharacterAt(runtime, *text, index);
    if (List* const* list = std::get_if<List*>(&object)) {
      const auto length = static_cast<std::int64_t>((*list)->items.size());
      const std::int64_t position = Position(index, length);
      if (position >= 0) return (*list)->items[position];
      return MakeUndefined("the list has no item {}", index);
    }
  }
  if (const Text* name = AsText(key)) return GetAttribute(runtime, object, name->bytes());
  return MakeUndefined("a value of type {} has no such item", TypeName(object));
}

Value Slice(Runtime& runtime, const Value& object, const SliceBounds& bounds) {
  if (const Undefined* undefined = std::get_if<Undefined>(&object)) Fail("{}", *undefined->what);
  if (const Text* text = AsText(object)) return SliceText(runtime, *text, bounds);
  List* const* list = std::get_if<List*>(&object);
  if (list == nullptr) Fail("a value of type {} cannot be sliced", TypeName(object));
  const SliceRange range = Resolve(bounds, static_cast<std::int64_t>((*list)->items.size()));
  std::vector<Value> items;
  items.reserve(range.count);
  for (std::int64_t i = 0; i < range.count; ++i) {
    items.push_back((*list)->items[range.start + i * range.step]);
  }
  return (*list)->is_tuple ? runtime.NewTuple(std::move(items)) : runtime.NewList(std::move(items));
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  if (IsUndefined(container)) return false;
  if (const Text* text = AsText(container)) {
    const Text* part = AsText(item);
    if (part == nullptr) Fail("'in' a text needs a text, got {}", TypeName(item));
    runtime.ChargeBytes(text->size());
    return FindBytes(text->bytes(), part->bytes(), 0) >= 0;
  }
  if (List* const* list = std::get_if<List*>(&container)) {
    for (const Value& other : (*list)->items) {
      if (Equal(runtime, other, item)) return true;
    }
    return false;
  }
  if (Dict* const* dict = std::get_if<Dict*>(&container)) {
    return Find(runtime, **dict, item) != nullptr;
  }
  Fail("'in' does not work on {}", TypeName(container));
}

std::vector<Value> Items(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (IsUndefined(value)) return items;
  if (List* const* list = std::get_if<List*>(&value)) {
    items = (*list)->items;
  } else if (Dict* const* dict = std::get_if<Dict*>(&value)) {
    for (const auto& [key, unused] : (*dict)->items) items.push_back(key);
  } else if (const Text* text = AsText(value)) {
    const std::int64_t count = CountChars(text->bytes());
    Runtime::CheckListSize(count);
    runtime.Charge(count);
    for (std::int64_t at = 0; at < text->size();) {
      const std::int64_t end = at + CharLength(text->bytes(), at);
      items.push_back(runtime.NewText(text->Sub(at, end)));
      at = end;
    }
  } else {
    Fail("a value of type {} cannot be iterated", TypeName(value));
  }
  runtime.ChargeItems(static_cast<std::int64_t>(items.size()));
  return items;
}

std::int64_t Length(Runtime& runtime, const Value& value) {
  if (IsUndefined(value)) return 0;
  if (const Text* text = AsText(value)) {
    runtime.ChargeBytes(text->size());
    return CountChars(text->bytes());
  }
  if (List* const* list = std::get_if<List*>(&value)) {
    return static_cast<std::int64_t>((*list)->items.size());
  }
  if (Dict* const* dict = std::get_if<Dict*>(&value)) {
    return static_cast<std::int64_t>((*dict)->items.size());
  }
  Fail("a value of type {} has no length", TypeName(value));
}

}  // namespace foveate::jinja
