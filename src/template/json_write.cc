// ToJson: what Python's json.dumps() writes.
#include <cmath>
#include <numeric>

#include "template/fault.h"
#include "template/json.h"
#include "template/print.h"
#include "template/runtime.h"
#include "template/unicode.h"

namespace foveate::jinja {
namespace {

constexpr Origin kPunctuation = Origin::kData;

void AppendCodeUnit(char32_t unit, std::string& out) {
  out += fmt::format("\\u{:04x}", static_cast<unsigned>(unit));
}

void AppendJsonChar(std::string_view text, std::int64_t at, bool ascii_only, std::string& out) {
  const char32_t c = CharAt(text, at);
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    default: break;
  }
  if (c < 0x20 || (ascii_only && c >= 0x7f && c < 0x10000)) {
    AppendCodeUnit(c, out);
  } else if (ascii_only && c >= 0x10000) {
    AppendCodeUnit(0xd800 + ((c - 0x10000) >> 10), out);
    AppendCodeUnit(0xdc00 + ((c - 0x10000) & 0x3ff), out);
  } else {
    out.append(text.substr(at, CharLength(text, at)));
  }
}

std::string ScalarJson(const Value& value) {
  if (const bool* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (IsInteger(value)) return fmt::format("{}", ToInteger(value));
  if (IsNone(value)) return "null";
  if (const double* real = std::get_if<double>(&value)) {
    if (std::isnan(*real)) return "NaN";
    if (std::isinf(*real)) return *real > 0 ? "Infinity" : "-Infinity";
    return FormatFloat(*real);
  }
  Fail("a value of type {} cannot be written as JSON", TypeName(value));
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void Write(const Value& value) {
    runtime_.Charge(1);
    Runtime::CheckTextSize(out_.size());
    if (const Text* text = AsText(value)) {
      WriteText(*text);
    } else if (List* const* list = std::get_if<List*>(&value)) {
      WriteList(**list);
    } else if (Dict* const* dict = std::get_if<Dict*>(&value)) {
      WriteDict(**dict);
    } else {
      out_.Append(ScalarJson(value), kPunctuation);
    }
  }

  Text Take() { return std::move(out_); }

 private:
  void WriteText(const Text& text) {
    runtime_.ChargeBytes(text.size());
    out_.Append("\"", kPunctuation);
    std::int64_t at = 0;
    std::string piece;
    for (const Text::Run& run : text.runs()) {
      piece.clear();
      for (; at < run.end; at += CharLength(text.bytes(), at)) {
        AppendJsonChar(text.bytes(), at, style_.ascii_only, piece);
      }
      out_.Append(piece, run.origin);
    }
    out_.Append("\"", kPunctuation);
  }

  void WriteList(const List& list) {
    const Nesting nesting(runtime_);
    if (list.items.empty()) return out_.Append("[]", kPunctuation);
    out_.Append("[", kPunctuation);
    ++level_;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      StartItem(i == 0);
      Write(list.items[i]);
    }
    --level_;
    BreakLine();
    out_.Append("]", kPunctuation);
  }

  void WriteDict(const Dict& dict) {
    const Nesting nesting(runtime_);
    if (dict.items.empty()) return out_.Append("{}", kPunctuation);
    out_.Append("{", kPunctuation);
    ++level_;
    bool first = true;
    for (const std::size_t i : KeyOrder(dict)) {
      StartItem(first);
      first = false;
      WriteKey(dict.items[i].first);
      out_.Append(style_.key_separator);
      Write(dict.items[i].second);
    }
    --level_;
    BreakLine();
    out_.Append("}", kPunctuation);
  }

  std::vector<std::size_t> KeyOrder(const Dict& dict) {
    std::vector<Value> keys;
    for (const auto& [key, value] : dict.items) keys.push_back(key);
    if (style_.sort_keys) return SortedOrder(runtime_, keys, /*reverse=*/false);
    std::vector<std::size_t> order(keys.size());
    std::iota(order.begin(), order.end(), 0);
    return order;
  }

  void WriteKey(const Value& key) {
    if (const Text* text = AsText(key)) return WriteText(*text);
    WriteText(Text(ScalarJson(key), kPunctuation));
  }

  void StartItem(bool first) {
    if (!first) out_.Append(style_.item_separator);
    BreakLine();
  }

  void BreakLine() {
    if (!style_.indent) return;
    Runtime::CheckTextSize(out_.size() + level_ * static_cast<std::int64_t>(style_.indent->size()));
    out_.Append("\n", kPunctuation);
    for (int i = 0; i < level_; ++i) out_.Append(*style_.indent, kPunctuation);
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  Text out_;
  int level_ = 0;
};

}  // namespace

Text ToJson(Runtime& runtime, const Value& value, JsonStyle style) {
  if (style.item_separator.empty()) {
    style.item_separator = Text(style.indent ? "," : ", ", kPunctuation);
  }
  if (style.key_separator.empty()) style.key_separator = Text(": ", kPunctuation);
  JsonWriter writer(runtime, style);
  writer.Write(value);
  return writer.Take();
}

}  // namespace foveate::jinja
