// Values as text: Python's str() and repr().
//
// Origins: the characters of strings keep theirs. What the engine adds around the strings of a
// container (brackets, quotes, numbers in it) counts as data, so that printed data are one stretch.
// A number, a bool or none on its own counts as the template's: it cannot hold a marker.
#pragma once

#include <string>

#include "template/value.h"

namespace foveate::jinja {

// str(value).
void AppendStr(Runtime& runtime, const Value& value, Text& out);
// str(value) as a string value; strings are passed through without a copy.
TextPtr Str(Runtime& runtime, const Value& value);
void AppendRepr(Runtime& runtime, const Value& value, Text& out);

// The shortest digits that read back as `value`, laid out as Python does: "3.0", "1e-05", "inf".
std::string FormatFloat(double value);

}  // namespace foveate::jinja
