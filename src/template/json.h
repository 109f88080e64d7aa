// JSON to template values and back.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "template/value.h"

namespace foveate::jinja {

// The value of `json`, all its strings and keys with `origin`. Invalid UTF-8 becomes U+FFFD, and
// integers beyond 64 bits become floats.
Value FromJson(Runtime& runtime, const nlohmann::ordered_json& json, Origin origin);

// Reads a JSON text; its strings are data if any of it is.
Value ParseJson(Runtime& runtime, const Text& text);

struct JsonStyle {
  std::optional<std::string> indent;  // of one level; without it everything stands on one line
  Text item_separator;                // unset: ", ", or "," where lines are broken
  Text key_separator;                 // unset: ": "
  bool sort_keys = false;
  bool ascii_only = false;
};
// What Python's json.dumps(ensure_ascii=False) writes. Strings keep their characters' origins; all
// else counts as data, as in repr().
Text ToJson(Runtime& runtime, const Value& value, JsonStyle style);

}  // namespace foveate::jinja
