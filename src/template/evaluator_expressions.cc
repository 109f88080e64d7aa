#include "template/access.h"
#include "template/arithmetic.h"
#include "template/evaluator.h"
#include "template/fault.h"
#include "template/print.h"

namespace foveate::jinja {

Value Evaluator::Evaluate(const Expression& expression) {
  const Nesting nesting(runtime_);
  runtime_.Charge(1);
  line_ = expression.line;
  return std::visit([&](const auto& form) { return Evaluate(form); }, expression.form);
}

Value Evaluator::Evaluate(const NameExpression& name) {
  if (const Value* value = scope_->Find(name.id)) return *value;
  return MakeUndefined("'{}' is undefined", tree_.names[name.id]);
}

Value Evaluator::Evaluate(const ListExpression& list) {
  std::vector<Value> items;
  items.reserve(list.items.size());
  for (const ExpressionPtr& item : list.items) items.push_back(Evaluate(*item));
  return list.is_tuple ? runtime_.NewTuple(std::move(items)) : runtime_.NewList(std::move(items));
}

Value Evaluator::Evaluate(const DictExpression& dict) {
  Dict* result = runtime_.NewDict();
  for (const auto& [key, value] : dict.items) {
    Value key_value = Evaluate(*key);
    Set(runtime_, *result, key_value, Evaluate(*value));
  }
  return result;
}

Value Evaluator::Evaluate(const UnaryExpression& unary) {
  const Value operand = Evaluate(*unary.operand);
  if (unary.op == Operator::kNot) return !Truthy(operand);
  if (unary.op == Operator::kNegate) return Negate(operand);
  return Arithmetic(runtime_, Operator::kAdd, std::int64_t{0}, operand);
}

Value Evaluator::Evaluate(const ChainExpression& chain) {
  switch (chain.rest.front().first) {
    case Operator::kOr: return EvaluateLogic(chain, /*stop_at=*/true);
    case Operator::kAnd: return EvaluateLogic(chain, /*stop_at=*/false);
    case Operator::kConcat: return EvaluateConcat(chain);
    case Operator::kEqual:
    case Operator::kNotEqual:
    case Operator::kLess:
    case Operator::kLessEqual:
    case Operator::kGreater:
    case Operator::kGreaterEqual:
    case Operator::kIn:
    case Operator::kNotIn: return EvaluateComparison(chain);
    default: break;
  }
  Value left = Evaluate(*chain.first);
  for (const auto& [op, operand] : chain.rest) {
    const Value right = Evaluate(*operand);
    left = Arithmetic(runtime_, op, left, right);
  }
  return left;
}

// The first operand whose truth is `stop_at`, else the last one.
Value Evaluator::EvaluateLogic(const ChainExpression& chain, bool stop_at) {
  Value value = Evaluate(*chain.first);
  for (const auto& [op, operand] : chain.rest) {
    if (Truthy(value) == stop_at) break;
    value = Evaluate(*operand);
  }
  return value;
}

// a < b < c is a < b and b < c.
Value Evaluator::EvaluateComparison(const ChainExpression& chain) {
  Value left = Evaluate(*chain.first);
  for (const auto& [op, operand] : chain.rest) {
    Value right = Evaluate(*operand);
    if (!Compare(op, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

bool Evaluator::Compare(Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual: return Equal(runtime_, a, b);
    case Operator::kNotEqual: return !Equal(runtime_, a, b);
    case Operator::kIn: return Contains(runtime_, b, a);
    case Operator::kNotIn: return !Contains(runtime_, b, a);
    case Operator::kLess: return Order(runtime_, a, b) < 0;
    case Operator::kLessEqual: return Order(runtime_, a, b) <= 0;
    case Operator::kGreater: return Order(runtime_, a, b) > 0;
    default: return Order(runtime_, a, b) >= 0;
  }
}

Value Evaluator::EvaluateConcat(const ChainExpression& chain) {
  Text text;
  AppendStr(runtime_, Evaluate(*chain.first), text);
  for (const auto& [op, operand] : chain.rest) AppendStr(runtime_, Evaluate(*operand), text);
  return runtime_.NewText(std::move(text));
}

Value Evaluator::Evaluate(const ConditionalExpression& conditional) {
  if (Truthy(Evaluate(*conditional.condition))) return Evaluate(*conditional.value);
  if (conditional.otherwise) return Evaluate(*conditional.otherwise);
  return MakeUndefined("the condition is false and there is no 'else'");
}

Value Evaluator::Evaluate(const SuffixExpression& expression) {
  return ApplySuffixes(Evaluate(*expression.base), expression.suffixes);
}

Value Evaluator::ApplySuffixes(Value value, const std::vector<Suffix>& suffixes) {
  for (std::size_t i = 0; i < suffixes.size(); ++i) {
    runtime_.Charge(1);
    line_ = suffixes[i].line;
    const auto* attribute = std::get_if<AttributeSuffix>(&suffixes[i].form);
    const auto* call =
        i + 1 < suffixes.size() ? std::get_if<CallSuffix>(&suffixes[i + 1].form) : nullptr;
    // A method that is called at once needs no value of its own.
    const Function* method =
        attribute != nullptr && call != nullptr ? FindMethod(value, attribute->name) : nullptr;
    if (method != nullptr) {
      const Args args = EvaluateArguments(call->arguments);
      line_ = suffixes[i].line;
      value = method->call(runtime_, value, args);
      ++i;
    } else {
      value = std::visit([&](const auto& form) { return Apply(value, form); }, suffixes[i].form);
    }
  }
  return value;
}

Value Evaluator::Apply(const Value& value, const AttributeSuffix& attribute) {
  return GetAttribute(runtime_, value, attribute.name);
}

Value Evaluator::Apply(const Value& value, const IndexSuffix& index) {
  return GetItem(runtime_, value, Evaluate(*index.key));
}

Value Evaluator::Apply(const Value& value, const SliceSuffix& slice) {
  SliceBounds bounds;
  if (slice.start) bounds.start = Evaluate(*slice.start);
  if (slice.stop) bounds.stop = Evaluate(*slice.stop);
  if (slice.step) bounds.step = Evaluate(*slice.step);
  return Slice(runtime_, value, bounds);
}

Value Evaluator::Apply(const Value& value, const CallSuffix& call) {
  const int line = line_;
  const Args args = EvaluateArguments(call.arguments);
  line_ = line;
  return Call(value, args);
}

Value Evaluator::Apply(const Value& value, const FilterSuffix& filter) {
  if (filter.filter == nullptr) Fail("there is no filter '{}'", filter.name);
  const int line = line_;
  const Args args = EvaluateArguments(filter.arguments);
  line_ = line;
  return filter.filter->call(runtime_, value, args);
}

Value Evaluator::Apply(const Value& value, const TestSuffix& test) {
  if (test.test == nullptr) Fail("there is no test '{}'", test.name);
  const int line = line_;
  const Args args = EvaluateArguments(test.arguments);
  line_ = line;
  return Truthy(test.test->call(runtime_, value, args)) != test.negated;
}

Args Evaluator::EvaluateArguments(const Arguments& arguments) {
  Args args;
  for (const ExpressionPtr& argument : arguments.positional) {
    args.positional.push_back(Evaluate(*argument));
  }
  for (const auto& [name, argument] : arguments.named) {
    args.named.emplace_back(name, Evaluate(*argument));
  }
  return args;
}

Value Evaluator::Call(const Value& callee, const Args& args) {
  if (const Undefined* undefined = std::get_if<Undefined>(&callee)) Fail("{}", *undefined->what);
  if (const Macro* const* macro = std::get_if<const Macro*>(&callee)) {
    return CallMacro(**macro, args);
  }
  if (const Function* const* function = std::get_if<const Function*>(&callee)) {
    return (*function)->call(runtime_, Undefined{}, args);
  }
  if (const Method* const* method = std::get_if<const Method*>(&callee)) {
    return (*method)->function->call(runtime_, (*method)->subject, args);
  }
  Fail("a value of type {} cannot be called", TypeName(callee));
}

}  // namespace foveate::jinja
