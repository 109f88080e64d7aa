#include "template/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "template/fault.h"
#include "template/format.h"
#include "template/runtime.h"

namespace foveate::jinja {
namespace {

constexpr std::int64_t kMinInteger = std::numeric_limits<std::int64_t>::min();

std::string_view Spelling(Operator op) {
  switch (op) {
    case Operator::kAdd: return "+";
    case Operator::kSubtract: return "-";
    case Operator::kMultiply: return "*";
    case Operator::kDivide: return "/";
    case Operator::kFloorDivide: return "//";
    case Operator::kModulo: return "%";
    default: return "**";
  }
}

[[noreturn]] void FailOverflow() { Fail("an integer does not fit into 64 bits"); }

std::int64_t Power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  while (true) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) FailOverflow();
    exponent >>= 1;
    if (exponent == 0) return result;
    if (__builtin_mul_overflow(base, base, &base)) FailOverflow();
  }
}

double Finite(double value) {
  if (!std::isfinite(value)) Fail("a number is too large");
  return value;
}

Value RealPower(double base, double exponent) {
  if (base == 0 && exponent < 0) Fail("division by zero");
  const double result = std::pow(base, exponent);
  if (std::isnan(result) && !std::isnan(base) && !std::isnan(exponent)) {
    Fail("a root of a negative number");
  }
  return std::isfinite(base) && std::isfinite(exponent) ? Finite(result) : result;
}

// Python's float modulo: the result has the sign of the divisor.
double RealModulo(double a, double b) {
  const double remainder = std::fmod(a, b);
  if (remainder == 0) return std::copysign(0.0, b);
  return (b < 0) != (remainder < 0) ? remainder + b : remainder;
}

double RealFloorDivide(double a, double b) {
  const double quotient = (a - RealModulo(a, b)) / b;
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

Value RealArithmetic(Operator op, double a, double b) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b == 0) Fail("division by zero");
  switch (op) {
    case Operator::kAdd: return a + b;
    case Operator::kSubtract: return a - b;
    case Operator::kMultiply: return a * b;
    case Operator::kDivide: return a / b;
    case Operator::kFloorDivide: return RealFloorDivide(a, b);
    case Operator::kModulo: return RealModulo(a, b);
    default: return RealPower(a, b);
  }
}

// `a` // `b` and `a` % `b`, rounded towards minus infinity.
Value FloorDivision(Operator op, std::int64_t a, std::int64_t b) {
  if (b == 0) Fail("division by zero");
  if (a == kMinInteger && b == -1) {
    if (op == Operator::kFloorDivide) FailOverflow();
    return std::int64_t{0};
  }
  const std::int64_t remainder = a % b;
  const bool rounds_down = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == Operator::kModulo) return rounds_down ? remainder + b : remainder;
  return a / b - (rounds_down ? 1 : 0);
}

Value IntegerArithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd: overflow = __builtin_add_overflow(a, b, &result); break;
    case Operator::kSubtract: overflow = __builtin_sub_overflow(a, b, &result); break;
    case Operator::kMultiply: overflow = __builtin_mul_overflow(a, b, &result); break;
    case Operator::kFloorDivide:
    case Operator::kModulo: return FloorDivision(op, a, b);
    case Operator::kPower:
      if (b >= 0) return Power(a, b);
      [[fallthrough]];
    default: return RealArithmetic(op, static_cast<double>(a), static_cast<double>(b));
  }
  if (overflow) FailOverflow();
  return result;
}

// By halves, so that a byte of a short text costs no more than one of a long text.
Text Repeated(const Text& text, std::int64_t count) {
  if (count == 0) return {};
  const Text half = Repeated(text, count / 2);
  Text whole = half;
  whole.Append(half);
  if (count % 2 != 0) whole.Append(text);
  return whole;
}

Value Repeat(Runtime& runtime, const Value& value, std::int64_t count) {
  count = std::max<std::int64_t>(count, 0);
  if (const Text* text = AsText(value)) {
    // Division, since the product may not fit.
    if (text->empty() || count == 0) return runtime.NewText("", Origin::kTemplate);
    if (count > kMaxTextBytes / text->size()) Runtime::CheckTextSize(kMaxTextBytes + 1);
    runtime.ChargeBytes(count * text->size());
    return runtime.NewText(Repeated(*text, count));
  }
  const List& list = *std::get<List*>(value);
  const auto size = static_cast<std::int64_t>(list.items.size());
  if (size > 0 && count > kMaxListItems / size) Runtime::CheckListSize(kMaxListItems + 1);
  std::vector<Value> items;
  if (size > 0) {
    for (std::int64_t i = 0; i < count; ++i) {
      items.insert(items.end(), list.items.begin(), list.items.end());
    }
  }
  return list.is_tuple ? runtime.NewTuple(std::move(items)) : runtime.NewList(std::move(items));
}

Value Joined(Runtime& runtime, const List& a, const List& b) {
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return a.is_tuple ? runtime.NewTuple(std::move(items)) : runtime.NewList(std::move(items));
}

bool IsSequence(const Value& value) {
  return AsText(value) != nullptr || std::holds_alternative<List*>(value);
}

}  // namespace

Value Arithmetic(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  if (IsUndefined(a)) Fail("{}", *std::get<Undefined>(a).what);
  if (IsUndefined(b)) Fail("{}", *std::get<Undefined>(b).what);
  if (IsInteger(a) && IsInteger(b)) return IntegerArithmetic(op, ToInteger(a), ToInteger(b));
  if (IsNumber(a) && IsNumber(b)) return RealArithmetic(op, ToDouble(a), ToDouble(b));
  const Text* text = AsText(a);
  if (op == Operator::kAdd && text != nullptr && AsText(b) != nullptr) {
    Text sum = *text;
    sum.Append(*AsText(b));
    return runtime.NewText(std::move(sum));
  }
  if (op == Operator::kAdd && std::holds_alternative<List*>(a) && TypeName(a) == TypeName(b)) {
    return Joined(runtime, *std::get<List*>(a), *std::get<List*>(b));
  }
  if (op == Operator::kMultiply && IsSequence(a) && IsInteger(b)) {
    return Repeat(runtime, a, ToInteger(b));
  }
  if (op == Operator::kMultiply && IsInteger(a) && IsSequence(b)) {
    return Repeat(runtime, b, ToInteger(a));
  }
  if (op == Operator::kModulo && text != nullptr) {
    List* const* list = std::get_if<List*>(&b);
    const bool spread = list != nullptr && (*list)->is_tuple;
    return FormatPercent(runtime, *text, spread ? (*list)->items : std::vector<Value>{b});
  }
  Fail("'{}' does not work on {} and {}", Spelling(op), TypeName(a), TypeName(b));
}

Value Negate(const Value& value) {
  if (IsUndefined(value)) Fail("{}", *std::get<Undefined>(value).what);
  if (!IsNumber(value)) Fail("'-' does not work on {}", TypeName(value));
  if (!IsInteger(value)) return -ToDouble(value);
  if (ToInteger(value) == kMinInteger) FailOverflow();
  return -ToInteger(value);
}

}  // namespace foveate::jinja
