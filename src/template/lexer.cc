#include "template/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <system_error>

#include "base/throw.h"
#include "template/unicode.h"
#include "text/utf8.h"

namespace foveate::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

// The digit's value in base 16, or 99.
int DigitValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> Run() {
    while (at_ < source_.size()) ScanText();
    Add(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Fail(const std::string& message) const { FailAtLine(line_, message); }

  bool StartsWith(std::string_view prefix) const { return source_.substr(at_).starts_with(prefix); }
  char Peek(std::size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  void Advance(std::size_t bytes) {
    line_ +=
        static_cast<int>(std::count(source_.begin() + at_, source_.begin() + at_ + bytes, '\n'));
    at_ += bytes;
  }
  void SkipSpaces() { Advance(SkipSpace(source_, at_) - at_); }

  Token& Add(TokenKind kind) {
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.line = line_;
    return token;
  }
  void AddData(std::string_view text) {
    if (text.empty()) return;
    Add(TokenKind::kData).string = text;
  }

  // Where the next "{{", "{%" or "{#" starts, or the end of the source.
  std::size_t FindTag() const {
    for (std::size_t at = at_; at + 1 < source_.size(); ++at) {
      at = source_.find('{', at);
      if (at == std::string_view::npos || at + 1 == source_.size()) break;
      const char type = source_[at + 1];
      if (type == '{' || type == '%' || type == '#') return at;
    }
    return source_.size();
  }

  // Literal text up to the next tag, and that tag.
  void ScanText() {
    const std::size_t tag = FindTag();
    if (tag == source_.size()) {
      AddData(source_.substr(at_));
      return Advance(source_.size() - at_);
    }
    const char type = source_[tag + 1];
    const char mark = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    AddData(TrimBeforeTag(source_.substr(at_, tag - at_), type, mark));
    Advance(tag - at_ + 2);
    if (mark == '-' || mark == '+') Advance(1);
    if (type == '#') {
      ScanComment();
    } else if (type == '{') {
      Add(TokenKind::kVariableBegin);
      ScanExpression(/*in_block=*/false);
    } else if (!ScanRaw()) {
      Add(TokenKind::kBlockBegin);
      ScanExpression(/*in_block=*/true);
    }
  }

  std::string_view TrimBeforeTag(std::string_view text, char type, char mark) const {
    if (mark == '-') return text.substr(0, SkipSpaceBack(text));
    if (mark == '+' || type == '{') return text;
    const std::size_t newline = text.rfind('\n');
    if (newline == std::string_view::npos && !at_line_start_) return text;
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    const bool blank = SkipSpace(text, line) == static_cast<std::int64_t>(text.size());
    return blank ? text.substr(0, line) : text;
  }

  // Consumes the end of a block tag or comment if it stands here: "%}", "-%}" or "+%}".
  bool ScanBlockEnd(std::string_view end) {
    const bool marked = Peek() == '-' || Peek() == '+';
    const char mark = marked ? Peek() : '\0';
    if (!source_.substr(std::min(at_ + marked, source_.size())).starts_with(end)) return false;
    Advance(end.size() + marked);
    if (mark == '-') SkipSpaces();
    if (mark == '\0' && Peek() == '\n') Advance(1);
    RememberLineStart();
    return true;
  }

  // What is blank before the next tag is stripped only where its line starts with it.
  void RememberLineStart() { at_line_start_ = source_[at_ - 1] == '\n'; }

  void ScanComment() {
    while (at_ < source_.size()) {
      if (ScanBlockEnd("#}")) return;
      Advance(1);
    }
    Fail("a comment without end");
  }

  // "{% raw %}text{% endraw %}", after its first two characters; false if this is another tag.
  bool ScanRaw() {
    const std::size_t start = at_;
    const int line = line_;
    SkipSpaces();
    if (!ScanWord("raw")) {
      at_ = start;
      line_ = line;
      return false;
    }
    SkipSpaces();
    const bool strip = Peek() == '-';
    if (strip) Advance(1);
    if (!StartsWith("%}")) Fail("expected '%}' after 'raw'");
    Advance(2);
    if (strip) SkipSpaces();
    const std::size_t begin = at_;
    RememberLineStart();
    while (at_ < source_.size()) {
      const std::size_t tag = source_.find("{%", at_);
      if (tag == std::string_view::npos) break;
      const std::string_view text = source_.substr(begin, tag - begin);
      const int text_line = line_;
      Advance(tag - at_ + 2);
      const char mark = Peek() == '-' || Peek() == '+' ? Peek() : '\0';
      if (mark != '\0') Advance(1);
      SkipSpaces();
      if (!ScanWord("endraw")) continue;
      SkipSpaces();
      if (!ScanBlockEnd("%}")) Fail("expected '%}' after 'endraw'");
      AddRaw(text, mark, text_line);
      return true;
    }
    Fail("'raw' without 'endraw'");
  }

  void AddRaw(std::string_view text, char mark, int text_line) {
    const std::string_view trimmed = TrimBeforeTag(text, '%', mark);
    AddData(trimmed);
    if (!trimmed.empty()) tokens_.back().line = text_line;
  }

  bool ScanWord(std::string_view word) {
    if (!StartsWith(word) || IsNamePart(Peek(word.size()))) return false;
    Advance(word.size());
    return true;
  }

  // The tokens inside a tag, up to and including its end.
  void ScanExpression(bool in_block) {
    const int tag_line = line_;
    open_brackets_.clear();
    while (true) {
      SkipSpaces();
      if (at_ >= source_.size()) FailAtLine(tag_line, "a tag without end");
      if (open_brackets_.empty() && ScanTagEnd(in_block)) return;
      ScanToken();
    }
  }

  bool ScanTagEnd(bool in_block) {
    const int line = line_;
    if (in_block) {
      if (!ScanBlockEnd("%}")) return false;
      Add(TokenKind::kBlockEnd).line = line;
      return true;
    }
    const bool strip = StartsWith("-}}");
    if (!strip && !StartsWith("}}")) return false;
    Add(TokenKind::kVariableEnd);
    Advance(strip ? 3 : 2);
    if (strip) SkipSpaces();
    RememberLineStart();
    return true;
  }

  void ScanToken() {
    const char c = Peek();
    const bool after_dot = !tokens_.empty() && tokens_.back().spelling == ".";
    if (IsNameStart(c)) {
      std::size_t size = 1;
      while (IsNamePart(Peek(size))) ++size;
      Add(TokenKind::kName).spelling = source_.substr(at_, size);
      Advance(size);
    } else if (IsDigit(c)) {
      ScanNumber(/*whole=*/after_dot);
    } else if (c == '\'' || c == '"') {
      ScanString(c);
    } else {
      ScanOperator();
    }
  }

  void ScanOperator() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "(",
        ")",  "[",  "]",  "{",  "}",  ".",  ",", ":", "|", "<", ">", "=", ";"};
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [&](std::string_view op) { return StartsWith(op); });
    if (found == kOperators.end()) {
      Fail(fmt::format("unexpected character '{}'", source_.substr(at_, CharLength(source_, at_))));
    }
    Add(TokenKind::kOperator).spelling = source_.substr(at_, found->size());
    TrackBracket((*found)[0]);
    Advance(found->size());
  }

  // Inside brackets "}}" closes dicts and not the tag.
  void TrackBracket(char c) {
    if (c == '(' || c == '[' || c == '{') {
      open_brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_brackets_.empty()) Fail(fmt::format("unexpected '{}'", c));
      if (open_brackets_.back() != c) {
        Fail(fmt::format("unexpected '{}', expected '{}'", c, open_brackets_.back()));
      }
      open_brackets_.pop_back();
    }
  }

  // Digits of `base` with single underscores between them.
  std::string ScanDigits(int base) {
    std::string digits;
    while (DigitValue(Peek()) < base ||
           (Peek() == '_' && !digits.empty() && DigitValue(Peek(1)) < base)) {
      if (Peek() != '_') digits += Peek();
      Advance(1);
    }
    return digits;
  }

  // `whole`: after a dot ("list.0.name") a number is an index and has no fraction.
  void ScanNumber(bool whole) {
    const int line = line_;
    const char prefix = Peek() == '0' ? static_cast<char>(Peek(1) | 0x20) : '\0';
    const int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
    if (base != 10) Advance(2);
    std::string digits = ScanDigits(base);
    const bool fraction = !whole && base == 10 && Peek() == '.' && IsDigit(Peek(1));
    if (fraction) {
      Advance(1);
      digits += '.' + ScanDigits(10);
    }
    const bool exponent = !whole && base == 10 && ScanExponent(digits);
    const char* end = digits.data() + digits.size();
    Token& token = Add(fraction || exponent ? TokenKind::kFloat : TokenKind::kInteger);
    token.line = line;
    const std::from_chars_result parsed =
        token.kind == TokenKind::kFloat ? std::from_chars(digits.data(), end, token.real)
                                        : std::from_chars(digits.data(), end, token.integer, base);
    if (parsed.ec != std::errc() || IsNamePart(Peek())) Fail("a number that cannot be read");
  }

  bool ScanExponent(std::string& digits) {
    if (Peek() != 'e' && Peek() != 'E') return false;
    const bool has_sign = Peek(1) == '-' || Peek(1) == '+';
    if (!IsDigit(Peek(1 + has_sign))) return false;
    digits += Peek(1) == '-' ? "e-" : "e";
    Advance(1 + has_sign);
    digits += ScanDigits(10);
    return true;
  }

  void ScanString(char quote) {
    const int line = line_;
    Advance(1);
    std::string text;
    while (Peek() != quote) {
      if (at_ >= source_.size()) FailAtLine(line, "a string without end");
      if (Peek() == '\\') {
        ScanEscape(text);
      } else {
        text += Peek();
        Advance(1);
      }
    }
    Advance(1);
    Token& token = Add(TokenKind::kString);
    token.string = std::move(text);
    token.line = line;
  }

  // Python's escape sequences; unknown ones keep their backslash.
  void ScanEscape(std::string& text) {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    Advance(1);
    if (at_ >= source_.size()) return;
    const char c = Peek();
    if (c == '\n') return Advance(1);
    if (const std::size_t known = kLetters.find(c); known != std::string_view::npos) {
      text += kMeanings[known];
      return Advance(1);
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      Advance(1);
      return ScanCodePoint(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, text);
    }
    if (c >= '0' && c <= '7') {
      int digits = 1;
      while (digits < 3 && DigitValue(Peek(digits)) < 8) ++digits;
      return ScanCodePoint(digits, 8, text);
    }
    text += '\\';
  }

  void ScanCodePoint(int digits, int base, std::string& text) {
    std::int64_t code = 0;
    for (int i = 0; i < digits; ++i) {
      const int digit = DigitValue(Peek());
      if (digit >= base) Fail("an escape sequence that cannot be read");
      code = code * base + digit;
      Advance(1);
    }
    if (code > 0x10ffff) Fail("an escape sequence beyond U+10FFFF");
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    AppendUtf8(surrogate ? kReplacementCharacter : static_cast<char32_t>(code), text);
  }

  std::string_view source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<char> open_brackets_;  // the closing ones that are awaited
  std::vector<Token> tokens_;
};

}  // namespace

void FailAtLine(int line, const std::string& message) {
  Throw(ErrorCode::kBadRequest, "chat template line {}: {}", line, message);
}

std::string NormalizeSource(std::string_view bytes) {
  std::string source;
  AppendRepairedUtf8(bytes, source);
  std::string normal;
  normal.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      normal += source[i];
    } else {
      normal += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!normal.empty() && normal.back() == '\n') normal.pop_back();
  return normal;
}

std::vector<Token> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace foveate::jinja
