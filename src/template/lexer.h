// Template source to tokens. White space is settled here: `-` and `+` marks, the newline after a
// block tag (trim_blocks) and the blanks before one (lstrip_blocks) are as Jinja2 treats them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foveate::jinja {

enum class TokenKind {
  kData,           // literal text, in `string`
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kName,
  kOperator,
  kString,  // decoded, in `string`
  kInteger,
  kFloat,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string_view spelling;  // of names and operators, in the source given to Tokenize
  std::string string;
  std::int64_t integer = 0;
  double real = 0;
};

// The source as Jinja2 sees it: valid UTF-8, "\n" line ends, one trailing newline dropped.
std::string NormalizeSource(std::string_view source);

// The tokens of a normalised source, ending with kEnd. Throws Error(kBadRequest) with the line.
std::vector<Token> Tokenize(std::string_view source);

// Reports an error of the template's text at `line`.
[[noreturn]] void FailAtLine(int line, const std::string& message);

}  // namespace foveate::jinja
