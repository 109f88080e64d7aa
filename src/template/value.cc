#include "template/value.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "template/fault.h"
#include "template/runtime.h"

namespace foveate::jinja {
namespace {

// Exact, where a conversion of the integer to double would round it.
std::partial_ordering OrderIntegerDouble(std::int64_t integer, double real) {
  if (std::isnan(real)) return std::partial_ordering::unordered;
  if (real >= 0x1p63) return std::partial_ordering::less;
  if (real < -0x1p63) return std::partial_ordering::greater;
  const double whole = std::trunc(real);
  const auto truncated = static_cast<std::int64_t>(whole);
  if (integer != truncated) return integer <=> truncated;
  return 0.0 <=> real - whole;
}

std::partial_ordering OrderNumbers(const Value& a, const Value& b) {
  if (IsInteger(a) && IsInteger(b)) return ToInteger(a) <=> ToInteger(b);
  if (IsInteger(a)) return OrderIntegerDouble(ToInteger(a), std::get<double>(b));
  if (IsInteger(b)) {
    const std::partial_ordering reversed = OrderIntegerDouble(ToInteger(b), std::get<double>(a));
    return 0 <=> reversed;
  }
  return std::get<double>(a) <=> std::get<double>(b);
}

bool EqualLists(Runtime& runtime, const List& a, const List& b) {
  if (a.is_tuple != b.is_tuple || a.items.size() != b.items.size()) return false;
  const Nesting nesting(runtime);
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!Equal(runtime, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool EqualDicts(Runtime& runtime, Dict& a, Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  const Nesting nesting(runtime);
  for (const auto& [key, value] : a.items) {
    const Value* other = Find(runtime, b, key);
    if (other == nullptr || !Equal(runtime, value, *other)) return false;
  }
  return true;
}

}  // namespace

std::string_view TypeName(const Value& value) {
  static constexpr std::string_view kNames[] = {
      "Undefined", "NoneType",  "bool", "int",   "float",  "str",     "list",
      "dict",      "Namespace", "loop", "macro", "method", "function"};
  static_assert(std::size(kNames) == std::variant_size_v<Value>);
  if (std::holds_alternative<List*>(value) && std::get<List*>(value)->is_tuple) return "tuple";
  return kNames[value.index()];
}

bool IsUndefined(const Value& value) { return std::holds_alternative<Undefined>(value); }
bool IsNone(const Value& value) { return std::holds_alternative<None>(value); }

const Text* AsText(const Value& value) {
  const TextPtr* text = std::get_if<TextPtr>(&value);
  return text == nullptr ? nullptr : text->get();
}

bool IsInteger(const Value& value) {
  return std::holds_alternative<std::int64_t>(value) || std::holds_alternative<bool>(value);
}

std::int64_t ToInteger(const Value& integer) {
  if (const bool* truth = std::get_if<bool>(&integer)) return *truth ? 1 : 0;
  return std::get<std::int64_t>(integer);
}

bool IsNumber(const Value& value) {
  return IsInteger(value) || std::holds_alternative<double>(value);
}

double ToDouble(const Value& number) {
  if (IsInteger(number)) return static_cast<double>(ToInteger(number));
  return std::get<double>(number);
}

bool Truthy(const Value& value) {
  if (IsUndefined(value) || IsNone(value)) return false;
  if (IsNumber(value)) return ToDouble(value) != 0;
  if (const Text* text = AsText(value)) return !text->empty();
  if (List* const* list = std::get_if<List*>(&value)) return !(*list)->items.empty();
  if (Dict* const* dict = std::get_if<Dict*>(&value)) return !(*dict)->items.empty();
  return true;
}

bool Equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.Charge(1);
  if (IsNumber(a) && IsNumber(b)) return OrderNumbers(a, b) == 0;
  if (a.index() != b.index()) return false;
  if (IsUndefined(a) || IsNone(a)) return true;
  if (const Text* text = AsText(a)) {
    runtime.ChargeBytes(text->size());
    return text->bytes() == AsText(b)->bytes();
  }
  if (List* const* list = std::get_if<List*>(&a)) {
    return EqualLists(runtime, **list, *std::get<List*>(b));
  }
  if (Dict* const* dict = std::get_if<Dict*>(&a)) {
    return EqualDicts(runtime, **dict, *std::get<Dict*>(b));
  }
  return std::visit(
      [&](const auto& left) {
        using T = std::decay_t<decltype(left)>;
        if constexpr (std::is_pointer_v<T> || std::is_same_v<T, std::shared_ptr<LoopState>>) {
          return left == std::get<T>(b);
        } else {
          return false;
        }
      },
      a);
}

std::partial_ordering Order(Runtime& runtime, const Value& a, const Value& b) {
  runtime.Charge(1);
  if (IsNumber(a) && IsNumber(b)) return OrderNumbers(a, b);
  if (AsText(a) != nullptr && AsText(b) != nullptr) {
    runtime.ChargeBytes(std::min(AsText(a)->size(), AsText(b)->size()));
    return AsText(a)->bytes() <=> AsText(b)->bytes();
  }
  if (std::holds_alternative<List*>(a) && TypeName(a) == TypeName(b)) {
    const Nesting nesting(runtime);
    const List& left = *std::get<List*>(a);
    const List& right = *std::get<List*>(b);
    const std::size_t common = std::min(left.items.size(), right.items.size());
    for (std::size_t i = 0; i < common; ++i) {
      if (!Equal(runtime, left.items[i], right.items[i])) {
        return Order(runtime, left.items[i], right.items[i]);
      }
    }
    return left.items.size() <=> right.items.size();
  }
  Fail("'{}' and '{}' have no order", TypeName(a), TypeName(b));
}

std::vector<std::size_t> SortedOrder(Runtime& runtime, const std::vector<Value>& keys,
                                     bool reverse) {
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::partial_ordering ordering = Order(runtime, keys[a], keys[b]);
    // std::sort needs a consistent order, which NaN does not have.
    if (ordering == std::partial_ordering::unordered) Fail("'nan' cannot be sorted");
    if (ordering == 0) return a < b;
    return reverse ? ordering > 0 : ordering < 0;
  });
  return order;
}

Value* Find(Runtime& runtime, Dict& dict, const Value& key) {
  if (const Text* text = AsText(key)) return Find(runtime, dict, text->bytes());
  for (auto& [other, value] : dict.items) {
    if (Equal(runtime, other, key)) return &value;
  }
  return nullptr;
}

Value* Find(Runtime& runtime, Dict& dict, std::string_view key) {
  runtime.ChargeItems(static_cast<std::int64_t>(dict.items.size()));
  for (auto& [other, value] : dict.items) {
    const Text* text = AsText(other);
    if (text == nullptr || text->bytes().size() != key.size()) continue;
    runtime.ChargeBytes(text->size());
    if (text->bytes() == key) return &value;
  }
  return nullptr;
}

void Set(Runtime& runtime, Dict& dict, const Value& key, Value value) {
  const bool is_list = std::holds_alternative<List*>(key) && !std::get<List*>(key)->is_tuple;
  if (is_list || std::holds_alternative<Dict*>(key)) Fail("unhashable type: '{}'", TypeName(key));
  if (Value* present = Find(runtime, dict, key)) {
    *present = std::move(value);
    return;
  }
  runtime.ChargeGrowth(2);
  dict.items.emplace_back(key, std::move(value));
}

}  // namespace foveate::jinja
