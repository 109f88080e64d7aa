// Walks the tree of a template and writes its text.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "template/ast.h"
#include "template/builtins.h"
#include "template/runtime.h"

namespace foveate::jinja {

// The variables of a block. Assigning sets them here; reading looks further in the blocks around.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  const Value* Find(NameId name) const;
  void Set(NameId name, Value value);
  void Clear() { values_.clear(); }

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<NameId, Value>> values_;
};

class Evaluator {
 public:
  // `globals` holds what the template finds before it sets anything itself. `line` is kept at the
  // line being evaluated, for error messages.
  Evaluator(const Template& tree, Runtime& runtime, std::shared_ptr<Scope> globals, int& line);

  Text Run();

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class InScope;
  class Capture;

  Flow ExecuteBody(const Body& body);
  Flow Execute(const Statement& statement);
  Flow Execute(const DataStatement& data);
  Flow Execute(const OutputStatement& output);
  Flow Execute(const IfStatement& statement);
  Flow Execute(const ForStatement& loop);
  Flow Execute(const SetStatement& set);
  Flow Execute(const SetBlockStatement& set);
  Flow Execute(const MacroStatement& macro);
  Flow Execute(LoopControl control);
  Flow Execute(const ScopedStatement& block);
  std::vector<Value> LoopItems(const ForStatement& loop);
  void Assign(const Target& target, Value value);

  Value Evaluate(const Expression& expression);
  Value Evaluate(const Literal& literal) { return literal.value; }
  Value Evaluate(const NameExpression& name);
  Value Evaluate(const ListExpression& list);
  Value Evaluate(const DictExpression& dict);
  Value Evaluate(const UnaryExpression& unary);
  Value Evaluate(const ChainExpression& chain);
  Value Evaluate(const ConditionalExpression& conditional);
  Value Evaluate(const SuffixExpression& expression);
  Value EvaluateLogic(const ChainExpression& chain, bool stop_at);
  Value EvaluateComparison(const ChainExpression& chain);
  Value EvaluateConcat(const ChainExpression& chain);
  bool Compare(Operator op, const Value& a, const Value& b);

  Value ApplySuffixes(Value value, const std::vector<Suffix>& suffixes);
  Value Apply(const Value& value, const AttributeSuffix& attribute);
  Value Apply(const Value& value, const IndexSuffix& index);
  Value Apply(const Value& value, const SliceSuffix& slice);
  Value Apply(const Value& value, const CallSuffix& call);
  Value Apply(const Value& value, const FilterSuffix& filter);
  Value Apply(const Value& value, const TestSuffix& test);
  Args EvaluateArguments(const Arguments& arguments);
  Value Call(const Value& callee, const Args& args);
  Value CallMacro(const Macro& macro, const Args& args);
  void BindParameters(const MacroStatement& macro, const Args& args);

  const Template& tree_;
  Runtime& runtime_;
  std::shared_ptr<Scope> scope_;
  int& line_;
  Text output_;
  Text* out_ = &output_;
  int calls_ = 0;
};

}  // namespace foveate::jinja
