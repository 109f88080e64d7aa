// What can stand after "is", and in select() and reject().
#include <algorithm>
#include <array>

#include "template/access.h"
#include "template/arithmetic.h"
#include "template/builtins.h"
#include "template/fault.h"
#include "template/print.h"
#include "template/runtime.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

// A test without arguments, from a predicate on the value.
template <bool (*kPredicate)(const Value&)>
Value Plain(Runtime&, const Value& subject, const Args& args) {
  TakesNoArguments("a test", args);
  return kPredicate(subject);
}

bool IsDefined(const Value& value) { return !IsUndefined(value); }
bool IsString(const Value& value) { return AsText(value) != nullptr; }
bool IsMapping(const Value& value) { return std::holds_alternative<Dict*>(value); }
bool IsSequence(const Value& value) {
  return IsString(value) || IsMapping(value) || std::holds_alternative<List*>(value) ||
         IsUndefined(value);
}
bool IsBoolean(const Value& value) { return std::holds_alternative<bool>(value); }
bool IsTrue(const Value& value) { return IsBoolean(value) && std::get<bool>(value); }
bool IsFalse(const Value& value) { return IsBoolean(value) && !std::get<bool>(value); }
bool IsInt(const Value& value) { return std::holds_alternative<std::int64_t>(value); }
bool IsFloat(const Value& value) { return std::holds_alternative<double>(value); }
bool IsCallable(const Value& value) {
  return std::holds_alternative<const Macro*>(value) ||
         std::holds_alternative<const Method*>(value) ||
         std::holds_alternative<const Function*>(value);
}

Value TestLower(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("lower", args);
  return IsAll(CharClass::kLower, Str(runtime, subject)->bytes());
}

Value TestUpper(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("upper", args);
  return IsAll(CharClass::kUpper, Str(runtime, subject)->bytes());
}

bool Divides(Runtime& runtime, const Value& number, std::int64_t divisor, std::int64_t rest) {
  return Equal(runtime, Arithmetic(runtime, Operator::kModulo, number, divisor), rest);
}

Value TestOdd(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("odd", args);
  return Divides(runtime, subject, 2, 1);
}

Value TestEven(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("even", args);
  return Divides(runtime, subject, 2, 0);
}

Value TestDivisibleBy(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("divisibleby", args, {"num"});
  const Value rest = Arithmetic(runtime, Operator::kModulo, subject, bound.Get(0));
  return Equal(runtime, rest, std::int64_t{0});
}

Value TestIn(Runtime& runtime, const Value& subject, const Args& args) {
  return Contains(runtime, BoundArgs("in", args, {"seq"}).Get(0), subject);
}

Value TestEqual(Runtime& runtime, const Value& subject, const Args& args) {
  return Equal(runtime, subject, BoundArgs("eq", args, {"other"}).Get(0));
}

Value TestNotEqual(Runtime& runtime, const Value& subject, const Args& args) {
  return !Equal(runtime, subject, BoundArgs("ne", args, {"other"}).Get(0));
}

// Identity: of the same type and, where that can be told apart, the same object.
Value TestSameAs(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("sameas", args, {"other"});
  const Value& other = bound.Get(0);
  if (subject.index() != other.index()) return false;
  if (List* const* list = std::get_if<List*>(&subject)) return *list == std::get<List*>(other);
  if (Dict* const* dict = std::get_if<Dict*>(&subject)) return *dict == std::get<Dict*>(other);
  return Equal(runtime, subject, other);
}

template <typename Holds>
Value Ordered(Runtime& runtime, const Value& subject, const Args& args, Holds holds) {
  return holds(Order(runtime, subject, BoundArgs("a comparison", args, {"other"}).Get(0)));
}

Value TestLess(Runtime& runtime, const Value& subject, const Args& args) {
  return Ordered(runtime, subject, args, [](auto order) { return order < 0; });
}

Value TestLessEqual(Runtime& runtime, const Value& subject, const Args& args) {
  return Ordered(runtime, subject, args, [](auto order) { return order <= 0; });
}

Value TestGreater(Runtime& runtime, const Value& subject, const Args& args) {
  return Ordered(runtime, subject, args, [](auto order) { return order > 0; });
}

Value TestGreaterEqual(Runtime& runtime, const Value& subject, const Args& args) {
  return Ordered(runtime, subject, args, [](auto order) { return order >= 0; });
}

constexpr auto kTests = std::to_array<Function>({
    {"!=", TestNotEqual},
    {"<", TestLess},
    {"<=", TestLessEqual},
    {"==", TestEqual},
    {">", TestGreater},
    {">=", TestGreaterEqual},
    {"boolean", Plain<IsBoolean>},
    {"callable", Plain<IsCallable>},
    {"defined", Plain<IsDefined>},
    {"divisibleby", TestDivisibleBy},
    {"eq", TestEqual},
    {"equalto", TestEqual},
    {"even", TestEven},
    {"false", Plain<IsFalse>},
    {"float", Plain<IsFloat>},
    {"ge", TestGreaterEqual},
    {"greaterthan", TestGreater},
    {"gt", TestGreater},
    {"in", TestIn},
    {"integer", Plain<IsInt>},
    {"iterable", Plain<IsSequence>},
    {"le", TestLessEqual},
    {"lessthan", TestLess},
    {"lower", TestLower},
    {"lt", TestLess},
    {"mapping", Plain<IsMapping>},
    {"ne", TestNotEqual},
    {"none", Plain<IsNone>},
    {"number", Plain<IsNumber>},
    {"odd", TestOdd},
    {"sameas", TestSameAs},
    {"sequence", Plain<IsSequence>},
    {"string", Plain<IsString>},
    {"true", Plain<IsTrue>},
    {"undefined", Plain<IsUndefined>},
    {"upper", TestUpper},
});

}  // namespace

const Function* FindTest(std::string_view name) {
  const auto found = std::find_if(kTests.begin(), kTests.end(),
                                  [&](const Function& test) { return test.name == name; });
  return found == kTests.end() ? nullptr : &*found;
}

}  // namespace foveate::jinja
