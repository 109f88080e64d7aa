// Python's arithmetic on template values.
#pragma once

#include "template/ast.h"
#include "template/value.h"

namespace foveate::jinja {

// + - * / // % ** of numbers, and those of them that strings and lists have. Integers that leave 64
// bits are a failure.
Value Arithmetic(Runtime& runtime, Operator op, const Value& a, const Value& b);
Value Negate(const Value& value);

}  // namespace foveate::jinja
