// The JSON form of specs.
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "base/throw.h"
#include "format/printable.h"
#include "mechanisms/spec_reader.h"

namespace foveate {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kReplace = Json::error_handler_t::replace;

std::string Shown(const Json& value) { return value.dump(-1, ' ', false, kReplace); }

std::optional<std::int64_t> IntegerOf(const Json& value) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
  if (value.is_number_integer()) return value.get<std::int64_t>();
  return std::nullopt;
}

bool AppendTuple(const Param& param, const Json& tuple, IntegerList& list) {
  if (!tuple.is_array() || std::ssize(tuple) != param.arity) return false;
  for (const Json& member : tuple) {
    std::optional<std::int64_t> number = IntegerOf(member);
    if (member.is_string() && &member == &tuple.back()) {
      const auto word =
          std::find(param.words.begin(), param.words.end(), member.get_ref<const std::string&>());
      if (word != param.words.end()) number = word - param.words.begin();
    }
    if (!number) return false;
    list.push_back(*number);
  }
  return true;
}

// A flag of an axis may be written as one.
std::optional<std::int64_t> ElementOf(const Param& param, const Json& value) {
  if (param.type == ParamType::kAxes && param.most == 1 && value.is_boolean()) {
    return value.get<bool>() ? 1 : 0;
  }
  return IntegerOf(value);
}

// A list of one may be its element.
std::optional<IntegerList> ListOf(const Param& param, const Json& value) {
  IntegerList list;
  if (param.type == ParamType::kTuples) {
    if (AppendTuple(param, value, list)) return list;
    list.clear();
  } else if (const auto number = ElementOf(param, value)) {
    return IntegerList{*number};
  }
  if (!value.is_array() || value.empty()) return std::nullopt;
  for (const Json& element : value) {
    if (param.type == ParamType::kTuples) {
      if (!AppendTuple(param, element, list)) return std::nullopt;
    } else if (const auto number = ElementOf(param, element)) {
      list.push_back(*number);
    } else {
      return std::nullopt;
    }
  }
  return list;
}

// Nothing if it is none of the parameter's words.
ParamValue WordOf(const Param& param, const Json& value) {
  if (!value.is_string()) return {};
  const auto& word = value.get_ref<const std::string&>();
  const bool known = std::find(param.words.begin(), param.words.end(), word) != param.words.end();
  return known ? ParamValue(word) : ParamValue();
}

ParamValue PathOf(const Json& value) {
  if (!value.is_string() || !IsPath(value.get_ref<const std::string&>())) return {};
  return value.get<std::string>();
}

// Nothing if the value is none of this type.
ParamValue ValueOf(const Param& param, const Json& value) {
  const std::optional<std::int64_t> integer = IntegerOf(value);
  switch (param.type) {
    case ParamType::kInteger: return integer ? ParamValue(*integer) : ParamValue();
    case ParamType::kReal:
      return value.is_number() ? ParamValue(value.get<double>()) : ParamValue();
    case ParamType::kBool:
      if (value.is_boolean()) return value.get<bool>();
      return integer && (*integer == 0 || *integer == 1) ? ParamValue(*integer == 1) : ParamValue();
    case ParamType::kWord: return WordOf(param, value);
    case ParamType::kFile: return PathOf(value);
    case ParamType::kList:
      if (const ParamValue word = WordOf(param, value); word != ParamValue()) return word;
      [[fallthrough]];
    case ParamType::kAxes:
    case ParamType::kTuples:
      if (auto list = ListOf(param, value)) return *std::move(list);
  }
  return {};
}

class JsonSpecReader {
 public:
  explicit JsonSpecReader(SpecFiles files) : files_(files) {}

  AttentionSpec Read(const Json& spec) {
    if (spec.is_object() && spec.contains("layers")) {
      OnlyKey(spec, "layers");
      return SpecOf(ReadRanges(spec["layers"], "layers"));
    }
    return SpecOf({{{0, kNoEnd}, ReadNode(spec)}});
  }

 private:
  static void OnlyKey(const Json& object, std::string_view key) {
    if (object.size() == 1) return;
    Throw(ErrorCode::kInvalidArgument, "attention spec: an object with \"{}\" has other keys too",
          key);
  }

  RangedNodes ReadRanges(const Json& object, std::string_view what) {
    if (!object.is_object() || object.empty()) {
      Throw(ErrorCode::kInvalidArgument,
            "attention spec: \"{}\" is {}, expected an object like {{\"0-2\": A, \"3-\": B}}", what,
            Printable(Shown(object)));
    }
    RangedNodes nodes;
    for (const auto& [range, node] : object.items()) {
      nodes.emplace_back(ParseIndexRange(range, what), ReadNode(node));
    }
    return nodes;
  }

  SpecNodePtr ReadNode(const Json& object) {
    if (++terms_ > kMostSpecTerms) {
      Throw(ErrorCode::kLimit, "an attention spec of more than {} mechanisms", kMostSpecTerms);
    }
    if (object.is_object() && object.contains("kind")) return ReadMechanism(object);
    if (object.is_object() && object.contains("and")) {
      return ReadCombined(object, "and", SpecNode::Kind::kAnd);
    }
    if (object.is_object() && object.contains("or")) {
      return ReadCombined(object, "or", SpecNode::Kind::kOr);
    }
    if (object.is_object() && object.contains("heads")) return ReadHeads(object);
    Throw(
        ErrorCode::kInvalidArgument,
        "attention spec: {} is no mechanism, expected an object with \"kind\", \"and\", \"or\" or "
        "\"heads\"",
        Printable(Shown(object)));
  }

  SpecNodePtr ReadHeads(const Json& object) {
    OnlyKey(object, "heads");
    if (within_heads_) {
      Throw(ErrorCode::kInvalidArgument, "attention spec: \"heads\" within \"heads\"");
    }
    within_heads_ = true;
    SpecNodePtr node = HeadsNode(ReadRanges(object["heads"], "heads"));
    within_heads_ = false;
    return node;
  }

  SpecNodePtr ReadCombined(const Json& object, const char* key, SpecNode::Kind kind) {
    OnlyKey(object, key);
    const Json& list = object[key];
    if (!list.is_array() || list.empty()) {
      Throw(ErrorCode::kInvalidArgument, "attention spec: \"{}\" is {}, expected a list of specs",
            key, Printable(Shown(list)));
    }
    std::vector<SpecNodePtr> children;
    for (const Json& child : list) children.push_back(ReadNode(child));
    return CombinedNode(kind, std::move(children));
  }

  SpecNodePtr ReadMechanism(const Json& object) const {
    if (!object["kind"].is_string()) {
      Throw(ErrorCode::kInvalidArgument, "attention spec: \"kind\" is {}, expected a name",
            Printable(Shown(object["kind"])));
    }
    MechanismReader reader(object["kind"].get_ref<const std::string&>(), files_);
    for (const auto& [key, value] : object.items()) {
      if (key == "kind") continue;
      const Param& param = reader.Find(key);
      if (value.is_null()) continue;
      const ParamValue read = ValueOf(param, value);
      if (std::holds_alternative<std::monostate>(read) || !InRange(param, read)) {
        RefuseParam(reader.mechanism(), param, Shown(value));
      }
      reader.Set(key, read);
    }
    return reader.Finish();
  }

  SpecFiles files_;
  bool within_heads_ = false;
  std::size_t terms_ = 0;
};

// The library parses without recursion, but keeps the last of equal keys: both bounds are ours.
Json ParseJson(std::string_view text) {
  std::vector<std::set<std::string>> keys;  // of the open objects
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMostSpecDepth) {
      Throw(ErrorCode::kLimit, "an attention spec nested more than {} deep", kMostSpecDepth);
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      Throw(ErrorCode::kInvalidArgument, "attention spec: the key \"{}\" is given twice",
            Printable(value.get<std::string>()));
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {
    Throw(ErrorCode::kInvalidArgument, "attention spec: not valid JSON at byte {}", error.byte);
  } catch (const Json::out_of_range&) {
    Throw(ErrorCode::kInvalidArgument, "attention spec: a number that is too large");
  }
}

}  // namespace

AttentionSpec ParseAttentionJson(std::string_view json, SpecFiles files) {
  if (json.size() > kMostSpecBytes) {
    Throw(ErrorCode::kLimit, "an attention spec of {} bytes, at most {} are read", json.size(),
          kMostSpecBytes);
  }
  return JsonSpecReader(files).Read(ParseJson(json));
}

}  // namespace foveate
