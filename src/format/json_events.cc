#include "format/json_events.h"

#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr int kMaxDepth = 8;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

void AppendUtf8(std::uint32_t point, std::string& out) {
  const auto append = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  const auto continuation = [&](int shift) { append(0x80 | ((point >> shift) & 0x3f)); };
  if (point < 0x80) {
    append(point);
  } else if (point < 0x800) {
    append(0xc0 | point >> 6);
    continuation(0);
  } else if (point < 0x10000) {
    append(0xe0 | point >> 12);
    continuation(6);
    continuation(0);
  } else {
    append(0xf0 | point >> 18);
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

// Length of the well-formed UTF-8 sequence that `text` begins with, 0 if there is none. The second
// byte excludes overlong forms, surrogates and code points past U+10FFFF (Unicode, table 3-7).
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length < 2) return length;
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

// The tokens of the text.
class JsonEvents::Scanner {
 public:
  Scanner(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  [[noreturn]] void Fail(std::string_view what) const {
    Throw(ErrorCode::kCorruptFile, "{}: not JSON: {} at position {}", where_, what, at_);
  }
  [[noreturn]] void FailTooDeep() const {
    Throw(ErrorCode::kCorruptFile, "{}: JSON nested deeper than {}", where_, kMaxDepth);
  }

  // The next character that is not white space, which stays; 0 at the end.
  char Peek() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
    return Current();
  }
  bool AtEnd() { return Peek() == 0 && at_ == text_.size(); }
  void Skip() { ++at_; }

  bool Accept(char c) {
    if (Peek() != c) return false;
    Skip();
    return true;
  }

  void Literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) Fail("an unknown word");
    at_ += word.size();
  }

  // A string, from its opening quote on. The result is valid until the next call.
  std::string& String() {
    string_.clear();
    Skip();
    for (;;) {
      const std::size_t start = at_;
      while (at_ < text_.size() && IsPlain(text_[at_])) ++at_;
      string_.append(text_, start, at_ - start);
      const char c = Current();
      if (c == '"') {
        Skip();
        return string_;
      }
      if (c == '\\') {
        Escape();
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        const std::size_t length = Utf8Length(text_.substr(at_));
        if (length == 0) Fail("invalid UTF-8");
        string_.append(text_, at_, length);
        at_ += length;
      } else {
        Fail(at_ == text_.size() ? "a string without end" : "a control character in a string");
      }
    }
  }

  // A number; its value if it is an integer from 0 to 2^64 - 1, else what it is.
  std::optional<std::uint64_t> Number(const char** what) {
    const std::size_t start = at_;
    const bool negative = Current() == '-';
    if (negative) Skip();
    const bool zero = Current() == '0';
    Digits();
    if (zero && at_ - start - negative > 1) Fail("a number with leading zeros");
    const std::size_t end = at_;
    if (Current() == '.') {
      Skip();
      Digits();
    }
    if (Current() == 'e' || Current() == 'E') {
      Skip();
      if (Current() == '+' || Current() == '-') Skip();
      Digits();
    }
    std::uint64_t value = 0;
    *what = negative ? "a negative number" : "a number that is not an integer of 64 bits";
    if (negative || at_ != end) return std::nullopt;
    if (std::from_chars(&text_[start], text_.data() + end, value).ec != std::errc()) {
      return std::nullopt;
    }
    return value;
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  static bool IsPlain(char c) {
    return static_cast<unsigned char>(c) - 0x20u < 0x60u && c != '"' && c != '\\';
  }

  char Current() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void Digits() {
    if (!IsDigit(Current())) Fail("no digit where one was expected");
    while (IsDigit(Current())) Skip();
  }

  void Escape() {
    Skip();
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char c = Current();
    if (c == 'u') {
      Skip();
      return AppendUtf8(CodePoint(), string_);
    }
    const std::size_t index = kNames.find(c);
    if (index == kNames.npos) Fail("an unknown escape");
    string_ += kMeanings[index];
    Skip();
  }

  // Behind "\u": four hexadecimal digits, or a pair of surrogates.
  std::uint32_t CodePoint() {
    const std::uint32_t first = FourHexDigits();
    if (first < 0xd800 || first > 0xdfff) return first;
    if (first > 0xdbff || text_.substr(at_, 2) != "\\u") Fail("half a surrogate pair");
    at_ += 2;
    const std::uint32_t second = FourHexDigits();
    if (second < 0xdc00 || second > 0xdfff) Fail("half a surrogate pair");
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
  }

  std::uint32_t FourHexDigits() {
    const std::string_view digits = text_.substr(at_, 4);
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    const bool all = error == std::errc() && end == digits.data() + digits.size();
    if (digits.size() != 4 || !all) Fail("not four hexadecimal digits");
    at_ += 4;
    return value;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::string string_;
};

void JsonEvents::Read(std::span<const std::byte> text, const std::string& where) {
  Scanner in({reinterpret_cast<const char*>(text.data()), text.size()}, where);
  std::array<bool, kMaxDepth + 1> is_object{};
  depth_ = 0;
  const auto close = [this] {
    OnClose();
    --depth_;
  };
  for (bool value_done = false; !value_done || depth_ > 0;) {
    if (value_done) {
      const bool object = is_object[depth_];
      if (in.Accept(object ? '}' : ']')) {
        close();
      } else if (!in.Accept(',')) {
        in.Fail("neither a comma nor an end");
      } else {
        if (object) ReadKey(in);
        value_done = false;
      }
    } else if (const char c = in.Peek(); c == '{' || c == '[') {
      in.Skip();
      if (++depth_ > kMaxDepth) in.FailTooDeep();
      const bool object = is_object[depth_] = c == '{';
      OnOpen(object);
      value_done = in.Accept(object ? '}' : ']');
      if (value_done) {
        close();
      } else if (object) {
        ReadKey(in);
      }
    } else {
      ReadScalar(in);
      value_done = true;
    }
  }
  if (!in.AtEnd()) in.Fail("text after the value");
}

void JsonEvents::ReadKey(Scanner& in) {
  if (in.Peek() != '"') in.Fail("no key where one was expected");
  OnKey(in.String());
  if (!in.Accept(':')) in.Fail("no colon behind a key");
}

void JsonEvents::ReadScalar(Scanner& in) {
  const char c = in.Peek();
  if (c == '"') {
    OnString(in.String());
  } else if (c == '-' || IsDigit(c)) {
    const char* what;
    const std::optional<std::uint64_t> number = in.Number(&what);
    if (number) {
      OnUnsigned(*number);
    } else {
      OnOther(what);
    }
  } else {
    const char* word = c == 't' ? "true" : c == 'f' ? "false" : c == 'n' ? "null" : nullptr;
    if (word == nullptr) in.Fail("no value where one was expected");
    in.Literal(word);
    OnOther(word);
  }
}

}  // namespace foveate
