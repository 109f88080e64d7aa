// The parsed template. Operators of one level and suffixes of one value are kept as flat lists, so
// the depth of the tree is bounded by the nesting of the source and not by its length.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "template/value.h"

namespace foveate::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using Body = std::vector<Statement>;
using NameId = int;  // index into Template::names

// --- expressions ---

struct Literal {
  Value value;
};
struct NameExpression {
  NameId id;
};
struct ListExpression {
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
};
struct DictExpression {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};

enum class Operator {
  kOr,
  kAnd,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kAdd,
  kSubtract,
  kConcat,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kNot,
  kNegate,
  kPlus,  // prefixes
};
struct UnaryExpression {
  Operator op;
  ExpressionPtr operand;
};
// first op1 operand1 op2 operand2 ..., all operators of one level.
struct ChainExpression {
  ExpressionPtr first;
  std::vector<std::pair<Operator, ExpressionPtr>> rest;
};
struct ConditionalExpression {
  ExpressionPtr condition;
  ExpressionPtr value;
  ExpressionPtr otherwise;  // null: undefined
};

struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};
struct AttributeSuffix {
  std::string name;
};
struct IndexSuffix {
  ExpressionPtr key;
};
struct SliceSuffix {  // null where left out
  ExpressionPtr start;
  ExpressionPtr stop;
  ExpressionPtr step;
};
struct CallSuffix {
  Arguments arguments;
};
struct FilterSuffix {
  std::string name;
  const Function* filter = nullptr;  // null: unknown, an error only if it is reached
  Arguments arguments;
};
struct TestSuffix {
  std::string name;
  const Function* test = nullptr;  // null as above
  Arguments arguments;
  bool negated = false;
};
struct Suffix {
  int line;
  std::variant<AttributeSuffix, IndexSuffix, SliceSuffix, CallSuffix, FilterSuffix, TestSuffix>
      form;
};
struct SuffixExpression {
  ExpressionPtr base;
  std::vector<Suffix> suffixes;
};

struct Expression {
  int line;
  std::variant<Literal, NameExpression, ListExpression, DictExpression, UnaryExpression,
               ChainExpression, ConditionalExpression, SuffixExpression>
      form;
};

// --- statements ---

struct DataStatement {
  TextPtr text;
};
struct OutputStatement {
  ExpressionPtr value;
};
struct IfStatement {
  struct Branch {
    ExpressionPtr condition;  // null: else
    Body body;
  };
  std::vector<Branch> branches;
};

// What a value is assigned to: a name, an attribute of a namespace, or a list of these.
struct Target {
  NameId name = -1;
  std::string attribute;      // not empty: of the namespace `name`
  std::vector<Target> items;  // not empty: the value is taken apart
};
struct ForStatement {
  NameId loop_name = -1;  // of the variable "loop", if the body mentions it
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  // null: all items
  Body body;
  Body otherwise;
};
struct SetStatement {
  Target target;
  ExpressionPtr value;
};
struct SetBlockStatement {
  Target target;
  std::vector<Suffix> filters;
  Body body;
};
struct MacroStatement {
  struct Parameter {
    NameId name;
    ExpressionPtr default_value;  // null: undefined
  };
  NameId name;
  std::vector<Parameter> parameters;
  Body body;
};
enum class LoopControl { kBreak, kContinue };
// A block with variables of its own: {% generation %}.
struct ScopedStatement {
  Body body;
};

struct Statement {
  int line;
  std::variant<DataStatement, OutputStatement, IfStatement, ForStatement, SetStatement,
               SetBlockStatement, MacroStatement, LoopControl, ScopedStatement>
      form;
};

struct Template {
  Body body;
  std::vector<std::string> names;  // of all variables
};

}  // namespace foveate::jinja
