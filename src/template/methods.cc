// The methods of texts, lists, dicts and loops.
#include <algorithm>
#include <array>
#include <span>

#include "template/access.h"
#include "template/builtins.h"
#include "template/fault.h"
#include "template/format.h"
#include "template/list_filters.h"
#include "template/print.h"
#include "template/runtime.h"
#include "template/strings.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

const Text& TextOf(const Value& subject) { return *AsText(subject); }
List& ListOf(const Value& subject) { return *std::get<List*>(subject); }
Dict& DictOf(const Value& subject) { return *std::get<Dict*>(subject); }

const Text& Required(const BoundArgs& bound, std::size_t index) {
  const Text* text = bound.String(index);
  if (text == nullptr) Fail("the method needs a string as argument {}", index + 1);
  return *text;
}

Value NewTexts(Runtime& runtime, std::vector<Text> texts) {
  std::vector<Value> values;
  values.reserve(texts.size());
  for (Text& text : texts) values.push_back(runtime.NewText(std::move(text)));
  return runtime.NewList(std::move(values));
}

// --- texts ---

template <Ends kEnds>
Value TextStrip(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("strip", args, {"chars"});
  return runtime.NewText(Strip(runtime, TextOf(subject), bound.String(0), kEnds));
}

template <Text (*kConvert)(const Text&)>
Value TextConvert(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("the method", args);
  return runtime.NewText(kConvert(TextOf(subject)));
}

// Unlike the filter, the method lets a word end with everything that is no letter.
Value TextTitle(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("title", args);
  const auto ends_word = [](char32_t c) {
    return c < 0x80 && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z');
  };
  return runtime.NewText(Title(runtime, TextOf(subject), ends_word));
}

Value TextFormat(Runtime& runtime, const Value& subject, const Args& args) {
  return FormatBraces(runtime, TextOf(subject), args);
}

template <CharClass kClass>
Value TextIsAll(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("the method", args);
  runtime.ChargeBytes(TextOf(subject).size());
  return IsAll(kClass, TextOf(subject).bytes());
}

Value TextIsSpace(Runtime&, const Value& subject, const Args& args) {
  TakesNoArguments("isspace", args);
  const Text& text = TextOf(subject);
  return !text.empty() && SkipSpace(text.bytes()) == text.size();
}

Value TextSplit(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("split", args, {"sep", "maxsplit"});
  return NewTexts(runtime, Split(runtime, TextOf(subject), bound.String(0), bound.Integer(1, -1)));
}

Value TextRSplit(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("rsplit", args, {"sep", "maxsplit"});
  return NewTexts(runtime,
                  SplitFromRight(runtime, TextOf(subject), bound.String(0), bound.Integer(1, -1)));
}

Value TextSplitLines(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("splitlines", args, {"keepends"});
  return NewTexts(runtime, SplitLines(runtime, TextOf(subject), bound.Truth(0, false)));
}

// startswith and endswith take one text or a tuple of them.
template <bool (*kMatches)(std::string_view, std::string_view)>
Value TextMatches(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("the method", args, {"affix"});
  const Value& affix = bound.Get(0);
  const std::string_view text = TextOf(subject).bytes();
  if (AsText(affix) != nullptr) return kMatches(text, AsText(affix)->bytes());
  if (TypeName(affix) != "tuple") Fail("the method needs a string, got {}", TypeName(affix));
  for (const Value& one : Items(runtime, affix)) {
    if (AsText(one) == nullptr) Fail("the method needs strings, got {}", TypeName(one));
    if (kMatches(text, AsText(one)->bytes())) return true;
  }
  return false;
}
bool StartsWith(std::string_view text, std::string_view affix) { return text.starts_with(affix); }
bool EndsWith(std::string_view text, std::string_view affix) { return text.ends_with(affix); }

Value TextRemovePrefix(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("removeprefix", args, {"prefix"});
  const Text& text = TextOf(subject);
  const Text& prefix = Required(bound, 0);
  if (!text.bytes().starts_with(prefix.bytes())) return subject;
  return runtime.NewText(text.Sub(prefix.size(), text.size()));
}

Value TextRemoveSuffix(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("removesuffix", args, {"suffix"});
  const Text& text = TextOf(subject);
  const Text& suffix = Required(bound, 0);
  if (!text.bytes().ends_with(suffix.bytes())) return subject;
  return runtime.NewText(text.Sub(0, text.size() - suffix.size()));
}

Value TextReplace(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("replace", args, {"old", "new", "count"});
  return runtime.NewText(Replace(runtime, TextOf(subject), Required(bound, 0), Required(bound, 1),
                                 bound.Integer(2, -1)));
}

Value TextJoin(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("join", args, {"iterable"});
  std::vector<TextPtr> texts;
  for (const Value& item : Items(runtime, bound.Get(0))) {
    if (AsText(item) == nullptr) Fail("join() needs strings, got {}", TypeName(item));
    texts.push_back(std::get<TextPtr>(item));
  }
  return runtime.NewText(Join(runtime, texts, TextOf(subject)));
}

Value TextFind(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("find", args, {"sub"});
  const std::string_view text = TextOf(subject).bytes();
  runtime.ChargeBytes(TextOf(subject).size());
  const std::int64_t found = FindBytes(text, Required(bound, 0).bytes(), 0);
  return found < 0 ? found : CountChars(text.substr(0, found));
}

Value TextCount(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("count", args, {"sub"});
  const Text& part = Required(bound, 0);
  if (part.empty()) return CountChars(TextOf(subject).bytes()) + 1;
  return static_cast<std::int64_t>(Split(runtime, TextOf(subject), &part, -1).size()) - 1;
}

// --- lists ---

void CheckCanChange(const List& list) {
  if (list.is_tuple) Fail("a tuple cannot be changed");
}

void Grow(Runtime& runtime, List& list, std::size_t at, const std::vector<Value>& items) {
  CheckCanChange(list);
  Runtime::CheckListSize(static_cast<std::int64_t>(list.items.size() + items.size()));
  runtime.ChargeGrowth(static_cast<std::int64_t>(items.size()));
  list.items.insert(list.items.begin() + static_cast<std::ptrdiff_t>(at), items.begin(),
                    items.end());
}

// The place that `index` names, counted from the end if negative, kept within 0..size.
std::size_t ClampIndex(std::int64_t index, std::size_t size) {
  const auto length = static_cast<std::int64_t>(size);
  if (index < 0) index += length;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(index, 0, length));
}

Value ListAppend(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("append", args, {"object"});
  Grow(runtime, ListOf(subject), ListOf(subject).items.size(), {bound.Get(0)});
  return None{};
}

Value ListExtend(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("extend", args, {"iterable"});
  Grow(runtime, ListOf(subject), ListOf(subject).items.size(), Items(runtime, bound.Get(0)));
  return None{};
}

Value ListInsert(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("insert", args, {"index", "object"});
  bound.Get(0);
  List& list = ListOf(subject);
  runtime.ChargeItems(static_cast<std::int64_t>(list.items.size()));
  Grow(runtime, list, ClampIndex(bound.Integer(0, 0), list.items.size()), {bound.Get(1)});
  return None{};
}

Value ListPop(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("pop", args, {"index"});
  List& list = ListOf(subject);
  CheckCanChange(list);
  const auto length = static_cast<std::int64_t>(list.items.size());
  std::int64_t index = bound.Integer(0, -1);
  if (index < 0) index += length;
  if (index < 0 || index >= length) Fail("pop() from a list of {} items", length);
  runtime.ChargeItems(length - index);
  Value popped = std::move(list.items[index]);
  list.items.erase(list.items.begin() + index);
  return popped;
}

Value ListIndex(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("index", args, {"value"});
  const std::vector<Value>& items = ListOf(subject).items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (Equal(runtime, items[i], bound.Get(0))) return static_cast<std::int64_t>(i);
  }
  Fail("index() of an item that is not in the list");
}

Value ListCount(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("count", args, {"value"});
  const std::vector<Value>& items = ListOf(subject).items;
  return static_cast<std::int64_t>(
      std::count_if(items.begin(), items.end(),
                    [&](const Value& item) { return Equal(runtime, item, bound.Get(0)); }));
}

// --- dicts ---

Value DictGet(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("get", args, {"key", "default"});
  if (const Value* value = Find(runtime, DictOf(subject), bound.Get(0))) return *value;
  return bound.Find(1) != nullptr ? *bound.Find(1) : Value(None{});
}

Value DictKeys(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("keys", args);
  return runtime.NewList(Items(runtime, subject));
}

Value DictValues(Runtime& runtime, const Value& subject, const Args& args) {
  TakesNoArguments("values", args);
  std::vector<Value> values;
  for (const auto& [key, value] : DictOf(subject).items) values.push_back(value);
  return runtime.NewList(std::move(values));
}

Value DictPop(Runtime& runtime, const Value& subject, const Args& args) {
  const BoundArgs bound("pop", args, {"key", "default"});
  Dict& dict = DictOf(subject);
  const Value* value = Find(runtime, dict, bound.Get(0));
  if (value == nullptr) {
    if (bound.Find(1) == nullptr) Fail("pop() of a key that is not in the dict");
    return *bound.Find(1);
  }
  Value popped = *value;
  std::erase_if(dict.items, [&](const auto& item) { return &item.second == value; });
  return popped;
}

Value DictUpdate(Runtime& runtime, const Value& subject, const Args& args) {
  if (args.positional.size() > 1) Fail("update() takes at most one positional argument");
  if (!args.positional.empty()) {
    Dict* const* other = std::get_if<Dict*>(&args.positional[0]);
    if (other == nullptr) Fail("update() needs a dict, got {}", TypeName(args.positional[0]));
    const Dict source = **other;  // a copy, as it may be the dict itself
    for (const auto& [key, value] : source.items) Set(runtime, DictOf(subject), key, value);
  }
  for (const auto& [name, value] : args.named) {
    Set(runtime, DictOf(subject), runtime.NewText(name, Origin::kTemplate), value);
  }
  return None{};
}

// --- loops ---

Value LoopCycle(Runtime&, const Value& subject, const Args& args) {
  if (args.positional.empty()) Fail("loop.cycle() needs values");
  const std::int64_t index = std::get<std::shared_ptr<LoopState>>(subject)->index;
  return args.positional[index % static_cast<std::int64_t>(args.positional.size())];
}

constexpr auto kTextMethods = std::to_array<Function>({
    {"capitalize", TextConvert<Capitalize>},
    {"count", TextCount},
    {"endswith", TextMatches<EndsWith>},
    {"find", TextFind},
    {"format", TextFormat},
    {"isalnum", TextIsAll<CharClass::kAlphanumeric>},
    {"isalpha", TextIsAll<CharClass::kAlphabetic>},
    {"isdigit", TextIsAll<CharClass::kDigit>},
    {"islower", TextIsAll<CharClass::kLower>},
    {"isspace", TextIsSpace},
    {"isupper", TextIsAll<CharClass::kUpper>},
    {"join", TextJoin},
    {"lower", TextConvert<Lower>},
    {"lstrip", TextStrip<Ends::kLeft>},
    {"removeprefix", TextRemovePrefix},
    {"removesuffix", TextRemoveSuffix},
    {"replace", TextReplace},
    {"rsplit", TextRSplit},
    {"rstrip", TextStrip<Ends::kRight>},
    {"split", TextSplit},
    {"splitlines", TextSplitLines},
    {"startswith", TextMatches<StartsWith>},
    {"strip", TextStrip<Ends::kBoth>},
    {"title", TextTitle},
    {"upper", TextConvert<Upper>},
});

constexpr auto kListMethods = std::to_array<Function>({
    {"append", ListAppend},
    {"count", ListCount},
    {"extend", ListExtend},
    {"index", ListIndex},
    {"insert", ListInsert},
    {"pop", ListPop},
});

constexpr auto kDictMethods = std::to_array<Function>({
    {"get", DictGet},
    {"items", FilterItems},
    {"keys", DictKeys},
    {"pop", DictPop},
    {"update", DictUpdate},
    {"values", DictValues},
});

constexpr auto kLoopMethods = std::to_array<Function>({{"cycle", LoopCycle}});

const Function* FindIn(std::span<const Function> table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Function& entry) { return entry.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const Function* FindMethod(const Value& object, std::string_view name) {
  if (AsText(object) != nullptr) return FindIn(kTextMethods, name);
  if (std::holds_alternative<List*>(object)) return FindIn(kListMethods, name);
  if (std::holds_alternative<Dict*>(object)) return FindIn(kDictMethods, name);
  if (std::holds_alternative<std::shared_ptr<LoopState>>(object)) return FindIn(kLoopMethods, name);
  return nullptr;
}

}  // namespace foveate::jinja
