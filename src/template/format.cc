#include "template/format.h"

#include <cmath>

#include <charconv>
#include <optional>
#include <string>

#include "template/fault.h"
#include "template/print.h"
#include "template/runtime.h"

namespace foveate::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

void AppendConverted(Runtime& runtime, char type, int precision, const Value& value, Text& out) {
  if (type == 's') return AppendStr(runtime, value, out);
  if (type == 'r') return AppendRepr(runtime, value, out);
  if (!IsNumber(value)) Fail("%{} needs a number, got {}", type, TypeName(value));
  if (type == 'f') {
    return out.Append(fmt::format("{:.{}f}", ToDouble(value), precision), Origin::kTemplate);
  }
  if (!IsInteger(value) && (type == 'x' || !(std::abs(ToDouble(value)) < 0x1p63))) {
    Fail("%{} needs an integer that fits into 64 bits", type);
  }
  const std::int64_t integer =
      IsInteger(value) ? ToInteger(value) : static_cast<std::int64_t>(ToDouble(value));
  out.Append(type == 'x' ? fmt::format("{:x}", integer) : fmt::format("{}", integer),
             Origin::kTemplate);
}

// The value that `field` ("", "2", "name") asks for; `next` counts the empty ones.
const Value& FieldValue(std::string_view field, const Args& args, std::size_t& next) {
  std::size_t index = next;
  if (field.empty()) {
    ++next;
  } else if (IsDigit(field[0])) {
    const std::from_chars_result parsed =
        std::from_chars(field.data(), field.data() + field.size(), index);
    if (parsed.ptr != field.data() + field.size() || parsed.ec != std::errc()) {
      Fail("format() does not know the field '{}'", field);
    }
  } else {
    for (const auto& [name, value] : args.named) {
      if (name == field) return value;
    }
    Fail("format() has no argument '{}'", field);
  }
  if (index >= args.positional.size()) Fail("format() has no argument {}", index);
  return args.positional[index];
}

}  // namespace

Value FormatPercent(Runtime& runtime, const Text& format, const std::vector<Value>& values) {
  const std::string& bytes = format.bytes();
  Text out;
  std::size_t next = 0;
  std::int64_t at = 0;
  while (at < format.size()) {
    std::size_t sign = bytes.find('%', at);
    if (sign == std::string::npos) sign = bytes.size();
    out.AppendPart(format, at, sign);
    at = static_cast<std::int64_t>(sign) + 1;
    if (at > format.size()) break;
    runtime.Charge(1);
    int precision = 6;
    if (at + 2 < format.size() && bytes[at] == '.' && IsDigit(bytes[at + 1])) {
      precision = bytes[at + 1] - '0';
      at += 2;
    }
    const char type = at < format.size() ? bytes[at++] : '\0';
    if (type == '%') {
      out.Append("%", Origin::kTemplate);
      continue;
    }
    if (type == '\0' || std::string_view("srdifx").find(type) == std::string_view::npos) {
      Fail("the format after '%' is not supported");
    }
    if (next >= values.size()) Fail("not enough values for the format");
    AppendConverted(runtime, type == 'i' ? 'd' : type, precision, values[next++], out);
    Runtime::CheckTextSize(out.size());
  }
  if (next < values.size()) Fail("more values than the format takes");
  return runtime.NewText(std::move(out));
}

Value FormatBraces(Runtime& runtime, const Text& format, const Args& args) {
  const std::string_view bytes = format.bytes();
  Text out;
  std::size_t next = 0;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    out.AppendPart(format, at, brace);
    at = brace + 1;
    if (at > bytes.size()) break;
    runtime.Charge(1);
    if (at < bytes.size() && bytes[at] == bytes[brace]) {
      out.AppendPart(format, at, at + 1);
      ++at;
      continue;
    }
    const std::size_t end = bytes.find('}', at);
    if (bytes[brace] == '}' || end == std::string_view::npos) Fail("a single brace in a format");
    AppendStr(runtime, FieldValue(bytes.substr(at, end - at), args, next), out);
    at = end + 1;
  }
  return runtime.NewText(std::move(out));
}

}  // namespace foveate::jinja
