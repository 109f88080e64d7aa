// Expressions: Pratt parsing over the tokens of a template.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "template/ast.h"
#include "template/lexer.h"

namespace foveate::jinja {

// The tokens of a template, read front to back.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& Current() const { return tokens_[at_]; }
  const Token& Ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  int line() const { return Current().line; }
  // Returns the current token and steps to the next one; the last token stays.
  const Token& Take();

  bool IsOperator(std::string_view spelling) const;
  bool IsWord(std::string_view word) const;
  bool SkipOperator(std::string_view spelling);
  bool SkipWord(std::string_view word);
  void ExpectOperator(std::string_view spelling);
  std::string ExpectName();
  // Reports what stands here instead of `expected`.
  [[noreturn]] void Unexpected(std::string_view expected) const;

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

// Numbers for the names of variables.
class NameTable {
 public:
  NameId Intern(const std::string& name);
  std::vector<std::string> Take() { return std::move(names_); }

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, NameId> ids_;
};

// Counts a level of nesting in the source while it exists.
class NestingGuard {
 public:
  NestingGuard(int& depth, int line);
  ~NestingGuard() { --depth_; }
  NestingGuard(const NestingGuard&) = delete;
  NestingGuard& operator=(const NestingGuard&) = delete;

 private:
  int& depth_;
};

class ExpressionParser {
 public:
  // `depth` is shared with the blocks around the expressions.
  ExpressionParser(TokenStream& tokens, NameTable& names, int& depth)
      : tokens_(tokens), names_(names), depth_(depth) {}

  // a, b, ... without brackets is a tuple. Without `conditionals`, "if" ends the expression.
  ExpressionPtr ParseTuple(bool conditionals = true);
  ExpressionPtr ParseExpression(bool conditionals = true);
  // How often "loop" has been read so far: tells whether a stretch of source mentions it.
  int loop_mentions() const { return loop_mentions_; }
  // Zero or more "| filter".
  std::vector<Suffix> ParseFilters();
  // One or more names; with `attributes` also "namespace.name".
  Target ParseTarget(bool attributes);

 private:
  ExpressionPtr ParseBinary(int min_level);
  ExpressionPtr ParseChain(ExpressionPtr first, int level);
  ExpressionPtr ParsePrefix(int min_level);
  ExpressionPtr ParseUnary(bool with_filters);
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseName();
  ExpressionPtr ParseParentheses();
  ExpressionPtr ParseList();
  ExpressionPtr ParseDict();
  ExpressionPtr ParseSuffixes(ExpressionPtr base, bool with_filters);
  Suffix ParseAttribute();
  Suffix ParseSubscript();
  Suffix ParseFilter();
  Suffix ParseTest();
  Arguments ParseArguments();
  Target ParseOneTarget(bool attributes);

  TokenStream& tokens_;
  NameTable& names_;
  int& depth_;
  int loop_mentions_ = 0;
};

}  // namespace foveate::jinja
