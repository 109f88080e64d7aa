// Filters on lists, dicts and texts as sequences (the table of filters is in filters.cc).
#pragma once

#include "template/builtins.h"

namespace foveate::jinja {

Value FilterDictSort(Runtime& runtime, const Value& subject, const Args& args);
Value FilterFirst(Runtime& runtime, const Value& subject, const Args& args);
Value FilterItems(Runtime& runtime, const Value& subject, const Args& args);
Value FilterJoin(Runtime& runtime, const Value& subject, const Args& args);
Value FilterLast(Runtime& runtime, const Value& subject, const Args& args);
Value FilterLength(Runtime& runtime, const Value& subject, const Args& args);
Value FilterList(Runtime& runtime, const Value& subject, const Args& args);
Value FilterMap(Runtime& runtime, const Value& subject, const Args& args);
Value FilterMax(Runtime& runtime, const Value& subject, const Args& args);
Value FilterMin(Runtime& runtime, const Value& subject, const Args& args);
Value FilterReject(Runtime& runtime, const Value& subject, const Args& args);
Value FilterRejectAttr(Runtime& runtime, const Value& subject, const Args& args);
Value FilterReverse(Runtime& runtime, const Value& subject, const Args& args);
Value FilterSelect(Runtime& runtime, const Value& subject, const Args& args);
Value FilterSelectAttr(Runtime& runtime, const Value& subject, const Args& args);
Value FilterSort(Runtime& runtime, const Value& subject, const Args& args);
Value FilterSum(Runtime& runtime, const Value& subject, const Args& args);
Value FilterUnique(Runtime& runtime, const Value& subject, const Args& args);

}  // namespace foveate::jinja
