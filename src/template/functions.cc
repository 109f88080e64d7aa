// The global functions.
#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <string>

#include "base/throw.h"
#include "template/builtins.h"
#include "template/fault.h"

#include "template/print.h"
#include "template/runtime.h"
#include "text/utf8.h"

namespace foveate::jinja {
namespace {

// Fills a dict from another dict and named arguments.
void Fill(Runtime& runtime, std::string_view function, const Args& args, Dict& dict) {
  if (args.positional.size() > 1) Fail("{}() takes at most one positional argument", function);
  if (!args.positional.empty()) {
    Dict* const* source = std::get_if<Dict*>(&args.positional[0]);
    if (source == nullptr) {
      Fail("{}() needs a dict, got {}", function, TypeName(args.positional[0]));
    }
    runtime.ChargeGrowth(2 * static_cast<std::int64_t>((*source)->items.size()));
    dict.items = (*source)->items;
  }
  for (const auto& [name, value] : args.named) {
    Set(runtime, dict, runtime.NewText(name, Origin::kTemplate), value);
  }
}

Value CallNamespace(Runtime& runtime, const Value&, const Args& args) {
  Namespace* space = runtime.NewNamespace();
  Fill(runtime, "namespace", args, space->attributes);
  return space;
}

Value CallDict(Runtime& runtime, const Value&, const Args& args) {
  Dict* dict = runtime.NewDict();
  Fill(runtime, "dict", args, *dict);
  return dict;
}

Value CallRange(Runtime& runtime, const Value&, const Args& args) {
  const BoundArgs bound("range", args, {"start", "stop", "step"});
  const bool has_stop = bound.Find(1) != nullptr;
  bound.Get(0);
  const std::int64_t start = has_stop ? bound.Integer(0, 0) : 0;
  const std::int64_t stop = has_stop ? bound.Integer(1, 0) : bound.Integer(0, 0);
  const std::int64_t step = bound.Integer(2, 1);
  if (step == 0) Fail("range() needs a step other than zero");
  std::vector<Value> items;
  std::int64_t at = start;
  while (step > 0 ? at < stop : at > stop) {
    items.emplace_back(at);
    Runtime::CheckListSize(static_cast<std::int64_t>(items.size()));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return runtime.NewList(std::move(items));
}

Value CallRaiseException(Runtime& runtime, const Value&, const Args& args) {
  const BoundArgs bound("raise_exception", args, {"message"});
  const TextPtr message = Str(runtime, bound.Get(0));
  throw Error(ErrorCode::kBadRequest, message->bytes());
}

// What strftime() makes of `conversion`, in UTF-8: names may come from a locale.
std::string FormatTime(const std::string& conversion, const std::tm& time) {
  char buffer[128];
  const std::size_t written = std::strftime(buffer, sizeof buffer, conversion.c_str(), &time);
  std::string field;
  AppendRepairedUtf8({buffer, written}, field);
  return field;
}

// Only conversions that are known to be safe reach strftime(); others are kept as they stand.
Value CallStrftimeNow(Runtime& runtime, const Value&, const Args& args) {
  const BoundArgs bound("strftime_now", args, {"format"});
  bound.Get(0);
  const Text* format = bound.String(0);
  if (format == nullptr) Fail("strftime_now() needs a format");
  static constexpr std::string_view kConversions = "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYZ%";
  const std::string& bytes = format->bytes();
  Text out;
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (bytes[at] != '%') {
      const std::size_t end = std::min(bytes.find('%', at), bytes.size());
      out.AppendPart(*format, at, end);
      at = end;
      continue;
    }
    runtime.Charge(1);
    const std::size_t size = at + 1 < bytes.size() && bytes[at + 1] == '-' ? 3 : 2;
    const bool converts = at + size <= bytes.size() &&
                          kConversions.find(bytes[at + size - 1]) != std::string_view::npos;
    const Origin origin = format->OriginAt(static_cast<std::int64_t>(at));
    out.Append(converts ? FormatTime(bytes.substr(at, size), runtime.now()) : "%", origin);
    Runtime::CheckTextSize(out.size());
    at += converts ? size : 1;
  }
  return runtime.NewText(std::move(out));
}

constexpr auto kFunctions = std::to_array<Function>({
    {"dict", CallDict},
    {"namespace", CallNamespace},
    {"raise_exception", CallRaiseException},
    {"range", CallRange},
    {"strftime_now", CallStrftimeNow},
});

}  // namespace

const Function* FindFunction(std::string_view name) {
  const auto found = std::find_if(kFunctions.begin(), kFunctions.end(),
                                  [&](const Function& entry) { return entry.name == name; });
  return found == kFunctions.end() ? nullptr : &*found;
}

}  // namespace foveate::jinja
