#include "template/list_filters.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "template/access.h"
#include "template/arithmetic.h"
#include "template/fault.h"
#include "template/print.h"
#include "template/runtime.h"
#include "template/strings.h"

namespace foveate::jinja {
namespace {

// The item at a path of keys and indices: "function.name", "0".
Value AtPath(Runtime& runtime, Value value, const Value& path) {
  const Text* text = AsText(path);
  if (text == nullptr) return GetItem(runtime, value, path);
  const Text dot(".", Origin::kTemplate);
  for (Text& part : Split(runtime, *text, &dot, -1)) {
    std::int64_t index = 0;
    const char* end = part.bytes().data() + part.size();
    const std::from_chars_result parsed = std::from_chars(part.bytes().data(), end, index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == end && index >= 0;
    value = GetItem(runtime, value, is_index ? Value(index) : runtime.NewText(std::move(part)));
  }
  return value;
}

// What a list is sorted or compared by.
class SortKey {
 public:
  // `attribute` may be null: the items themselves.
  SortKey(Runtime& runtime, const Value* attribute, bool case_sensitive)
      : runtime_(runtime),
        attribute_(attribute != nullptr && IsNone(*attribute) ? nullptr : attribute),
        case_sensitive_(case_sensitive) {}

  Value operator()(const Value& item) const {
    Value value = attribute_ == nullptr ? item : AtPath(runtime_, item, *attribute_);
    if (case_sensitive_ || AsText(value) == nullptr) return value;
    return runtime_.NewText(Lower(*AsText(value)));
  }

 private:
  Runtime& runtime_;
  const Value* attribute_;
  bool case_sensitive_;
};

std::vector<Value> Sorted(Runtime& runtime, const std::vector<Value>& items, const SortKey& key,
                          bool reverse) {
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(key(item));
  std::vector<Value> sorted;
  for (const std::size_t i : SortedOrder(runtime, keys, reverse)) sorted.push_back(items[i]);
  return sorted;
}

Value Extreme(Runtime& runtime, const Value& subject, const BoundArgs& bound, bool largest) {
  const SortKey key(runtime, bound.Find(1), bound.Truth(0, false));
  const std::vector<Value> items = Items(runtime, subject);
  if (items.empty())
    return MakeUndefined("no item of an empty list is the {}", largest ? "largest" : "smallest");
  Value best = items[0];
  Value best_key = key(items[0]);
  for (std::size_t i = 1; i < items.size(); ++i) {
    Value item_key = key(items[i]);
    const bool better =
        largest ? Order(runtime, item_key, best_key) > 0 : Order(runtime, item_key, best_key) < 0;
    if (!better) continue;
    best = items[i];
    best_key = std::move(item_key);
  }
  return best;
}

const Text& NameArgument(std::string_view filter, const Args& args, std::size_t index) {
  const Text* name = index < args.positional.size() ? AsText(args.positional[index]) : nullptr;
  if (name == nullptr) Fail("{}() needs a name as argument {}", filter, index + 1);
  return *name;
}

Args ArgumentsAfter(const Args& args, std::size_t count) {
  return {{args.positional.begin() + static_cast<std::ptrdiff_t>(count), args.positional.end()},
          args.named};
}

// The items for which a test says `wanted`. The test's name stands at argument `name_at`; without
// one an item counts as its truth. `attribute`: what of the item is tested.
Value Filtered(Runtime& runtime, const Value& subject, const Args& args, std::size_t name_at,
               const Value* attribute, bool wanted) {
  const bool has_test = args.positional.size() > name_at;
  const Function* test = nullptr;
  Args test_args;
  if (has_test) {
    const Text& name = NameArgument("select", args, name_at);
    test = FindTest(name.bytes());
    if (test == nullptr) Fail("there is no test '{}'", name.bytes());
    test_args = ArgumentsAfter(args, name_at + 1);
  }
  std::vector<Value> kept;
  for (Value& item : Items(runtime, subject)) {
    runtime.Charge(1);
    const Value tested = attribute == nullptr ? item : AtPath(runtime, item, *attribute);
    const bool truth = Truthy(has_test ? test->call(runtime, tested, test_args) : tested);
    if (truth == wanted) kept.push_back(std::move(item));
  }
  return runtime.NewList(std::move(kept));
}

Value FilteredByAttribute(Runtime& runtime, const Value& subject, const Args& args, bool wanted) {
  if (args.positional.empty()) Fail("selectattr() needs the name of an attribute");
  return Filtered(runtime, subject, args, 1, &args.positional[0], wanted);
}

Value MapAttribute(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("map", args, {"attribute", "default"});
  std::vector<Value> mapped;
  for (const Value& item : Items(runtime, subject)) {
    runtime.Charge(1);
    Value value = AtPath(runtime, item, bound.Get(0));
    if (IsUndefined(value) && bound.Find(1) != nullptr) value = *bound.Find(1);
    mapped.push_back(std::move(value));
  }
  return runtime.NewList(std::move(mapped));
}

}  // namespace

Value FilterMap(Runtime& runtime, const Value& subject, const Args& args) {
  if (args.positional.empty()) return MapAttribute(runtime, subject, args);
  const Text& name = NameArgument("map", args, 0);
  const Function* filter = FindFilter(name.bytes());
  if (filter == nullptr) Fail("there is no filter '{}'", name.bytes());
  const Nesting nesting(runtime);  // map('map', 'map', ...)
  const Args rest = ArgumentsAfter(args, 1);
  std::vector<Value> mapped;
  for (const Value& item : Items(runtime, subject)) {
    runtime.Charge(1);
    mapped.push_back(filter->call(runtime, item, rest));
  }
  return runtime.NewList(std::move(mapped));
}

Value FilterSelect(Runtime& runtime, const Value& subject, const Args& args) {
  return Filtered(runtime, subject, args, 0, nullptr, true);
}

Value FilterReject(Runtime& runtime, const Value& subject, const Args& args) {
  return Filtered(runtime, subject, args, 0, nullptr, false);
}

Value FilterSelectAttr(Runtime& runtime, const Value& subject, const Args& args) {
  return FilteredByAttribute(runtime, subject, args, true);
}

Value FilterRejectAttr(Runtime& runtime, const Value& subject, const Args& args) {
  return FilteredByAttribute(runtime, subject, args, false);
}

Value FilterLength(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("length", args);
  return Length(runtime, subject);
}

Value FilterList(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("list", args);
  return runtime.NewList(Items(runtime, subject));
}

Value FilterFirst(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("first", args);
  const std::vector<Value> items = Items(runtime, subject);
  return items.empty() ? MakeUndefined("an empty list has no first item") : items.front();
}

Value FilterLast(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("last", args);
  const std::vector<Value> items = Items(runtime, subject);
  return items.empty() ? MakeUndefined("an empty list has no last item") : items.back();
}

Value FilterItems(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("items", args);
  if (IsUndefined(subject)) return runtime.NewList({});
  Dict* const* dict = std::get_if<Dict*>(&subject);
  if (dict == nullptr) Fail("items() needs a dict, got {}", TypeName(subject));
  std::vector<Value> items;
  for (const auto& [key, value] : (*dict)->items) items.push_back(runtime.NewTuple({key, value}));
  return runtime.NewList(std::move(items));
}

Value FilterJoin(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("join", args, {"d", "attribute"});
  const Text separator = bound.Find(0) != nullptr ? *Str(runtime, *bound.Find(0)) : Text();
  const Value* attribute = bound.Find(1);
  std::vector<TextPtr> texts;
  for (Value& item : Items(runtime, subject)) {
    if (attribute != nullptr && !IsNone(*attribute)) {
      item = AtPath(runtime, std::move(item), *attribute);
    }
    texts.push_back(Str(runtime, item));
  }
  return runtime.NewText(Join(runtime, texts, separator));
}

Value FilterReverse(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("reverse", args);
  if (AsText(subject) != nullptr) {
    return Slice(runtime, subject, {.step = std::int64_t{-1}});
  }
  std::vector<Value> items = Items(runtime, subject);
  std::reverse(items.begin(), items.end());
  return runtime.NewList(std::move(items));
}

Value FilterSort(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("sort", args, {"reverse", "case_sensitive", "attribute"});
  const SortKey key(runtime, bound.Find(2), bound.Truth(1, false));
  return runtime.NewList(Sorted(runtime, Items(runtime, subject), key, bound.Truth(0, false)));
}

Value FilterDictSort(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("dictsort", args, {"case_sensitive", "by", "reverse"});
  const Text* by = bound.String(1);
  if (by != nullptr && by->bytes() != "key" && by->bytes() != "value") {
    Fail("dictsort() sorts by 'key' or 'value', got '{}'", by->bytes());
  }
  const Value index = std::int64_t{by != nullptr && by->bytes() == "value" ? 1 : 0};
  const SortKey key(runtime, &index, bound.Truth(0, false));
  const Value items = FilterItems(runtime, subject, {});
  return runtime.NewList(Sorted(runtime, Items(runtime, items), key, bound.Truth(2, false)));
}

Value FilterMin(Runtime& runtime, const Value& subject, const Args& args) {
  return Extreme(runtime, subject, {"min", args, {"case_sensitive", "attribute"}}, false);
}

Value FilterMax(Runtime& runtime, const Value& subject, const Args& args) {
  return Extreme(runtime, subject, {"max", args, {"case_sensitive", "attribute"}}, true);
}

Value FilterSum(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("sum", args, {"attribute", "start"});
  const Value* attribute = bound.Find(0);
  Value sum = bound.Find(1) != nullptr ? *bound.Find(1) : Value(std::int64_t{0});
  for (Value& item : Items(runtime, subject)) {
    if (attribute != nullptr && !IsNone(*attribute)) {
      item = AtPath(runtime, std::move(item), *attribute);
    }
    sum = Arithmetic(runtime, Operator::kAdd, sum, item);
  }
  return sum;
}

Value FilterUnique(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("unique", args, {"case_sensitive", "attribute"});
  const SortKey key(runtime, bound.Find(1), bound.Truth(0, false));
  std::vector<Value> seen;
  std::vector<Value> kept;
  for (Value& item : Items(runtime, subject)) {
    Value item_key = key(item);
    const auto is_same = [&](const Value& other) { return Equal(runtime, other, item_key); };
    if (std::any_of(seen.begin(), seen.end(), is_same)) continue;
    seen.push_back(std::move(item_key));
    kept.push_back(std::move(item));
  }
  return runtime.NewList(std::move(kept));
}

}  // namespace foveate::jinja
