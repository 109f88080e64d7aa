#include <limits>
#include <utility>
#include <vector>

#include "template/fault.h"
#include "template/json.h"
#include "template/runtime.h"
#include "text/utf8.h"

namespace foveate::jinja {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxJsonDepth = 128;

Value NewRepairedText(Runtime& runtime, std::string_view bytes, Origin origin) {
  std::string text;
  AppendRepairedUtf8(bytes, text);
  return runtime.NewText(Text(std::move(text), origin));
}

Value FromUnsigned(std::uint64_t number) {
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return static_cast<double>(number);
  }
  return static_cast<std::int64_t>(number);
}

// Builds values as the JSON parser reports them. A document tree in between would cost quadratic
// time for objects with many keys.
class ValueBuilder : public nlohmann::json_sax<ordered_json> {
 public:
  ValueBuilder(Runtime& runtime, Origin origin) : runtime_(runtime), origin_(origin) {}

  Value Take() { return std::move(root_); }

  bool null() override { return Add(None{}); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(std::int64_t{value}); }
  bool number_unsigned(number_unsigned_t value) override { return Add(FromUnsigned(value)); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(NewRepairedText(runtime_, value, origin_)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return Open(runtime_.NewDict()); }
  bool key(string_t& name) override {
    open_.back().key = NewRepairedText(runtime_, name, origin_);
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(runtime_.NewList({})); }
  bool end_array() override { return Close(); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    Fail("from_json() cannot read the text at byte {}", position);
  }

 private:
  struct Container {
    Value value;
    Value key;  // of the value that comes next, in a dict
  };

  bool Open(Value container) {
    if (open_.size() >= kMaxJsonDepth) FailLimit("JSON nested more than {} deep", kMaxJsonDepth);
    Add(container);
    open_.push_back({std::move(container), None{}});
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  bool Add(Value value) {
    runtime_.Charge(1);
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (Dict* const* dict = std::get_if<Dict*>(&open_.back().value)) {
      Set(runtime_, **dict, open_.back().key, std::move(value));
    } else {
      runtime_.ChargeGrowth(1);
      std::get<List*>(open_.back().value)->items.push_back(std::move(value));
    }
    return true;
  }

  Runtime& runtime_;
  Origin origin_;
  Value root_;
  std::vector<Container> open_;
};

}  // namespace

Value FromJson(Runtime& runtime, const ordered_json& json, Origin origin) {
  switch (json.type()) {
    case ordered_json::value_t::null: return None{};
    case ordered_json::value_t::boolean: return json.get<bool>();
    case ordered_json::value_t::number_integer: return json.get<std::int64_t>();
    case ordered_json::value_t::number_unsigned: return FromUnsigned(json.get<std::uint64_t>());
    case ordered_json::value_t::number_float: return json.get<double>();
    case ordered_json::value_t::string:
      return NewRepairedText(runtime, json.get_ref<const std::string&>(), origin);
    case ordered_json::value_t::array: {
      const Nesting nesting(runtime);
      std::vector<Value> items;
      for (const ordered_json& item : json) items.push_back(FromJson(runtime, item, origin));
      return runtime.NewList(std::move(items));
    }
    case ordered_json::value_t::object: {
      const Nesting nesting(runtime);
      Dict* dict = runtime.NewDict();
      for (const auto& [key, value] : json.items()) {
        dict->items.emplace_back(NewRepairedText(runtime, key, origin),
                                 FromJson(runtime, value, origin));
      }
      runtime.ChargeGrowth(2 * static_cast<std::int64_t>(dict->items.size()));
      return dict;
    }
    default: Fail("the variables hold a value that is no JSON");
  }
}

Value ParseJson(Runtime& runtime, const Text& text) {
  ValueBuilder builder(runtime, text.HasData() ? Origin::kData : Origin::kTemplate);
  ordered_json::sax_parse(text.bytes(), &builder);
  return builder.Take();
}

}  // namespace foveate::jinja
