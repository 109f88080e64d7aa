#include "template/expression_parser.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/throw.h"
#include "template/builtins.h"
#include "template/parser.h"

namespace foveate::jinja {
namespace {

// Levels of binding; operators of one level form a chain.
constexpr int kLoosest = 1;
constexpr int kNotLevel = 3;  // "not" stands between "and" and the comparisons

struct BinaryOperator {
  std::string_view spelling;
  Operator op;
  int level;
};
constexpr std::array kBinaryOperators = {
    BinaryOperator{"or", Operator::kOr, 1},
    BinaryOperator{"and", Operator::kAnd, 2},
    BinaryOperator{"==", Operator::kEqual, 4},
    BinaryOperator{"!=", Operator::kNotEqual, 4},
    BinaryOperator{"<", Operator::kLess, 4},
    BinaryOperator{"<=", Operator::kLessEqual, 4},
    BinaryOperator{">", Operator::kGreater, 4},
    BinaryOperator{">=", Operator::kGreaterEqual, 4},
    BinaryOperator{"in", Operator::kIn, 4},
    BinaryOperator{"not", Operator::kNotIn, 4},  // "not in"
    BinaryOperator{"+", Operator::kAdd, 5},
    BinaryOperator{"-", Operator::kSubtract, 5},
    BinaryOperator{"~", Operator::kConcat, 6},
    BinaryOperator{"*", Operator::kMultiply, 7},
    BinaryOperator{"/", Operator::kDivide, 7},
    BinaryOperator{"//", Operator::kFloorDivide, 7},
    BinaryOperator{"%", Operator::kModulo, 7},
    BinaryOperator{"**", Operator::kPower, 8},
};

// The binary operator that stands at the current token, or nullptr.
const BinaryOperator* PeekBinary(const TokenStream& tokens) {
  const Token& token = tokens.Current();
  if (token.kind != TokenKind::kOperator && token.kind != TokenKind::kName) return nullptr;
  const auto* found =
      std::find_if(kBinaryOperators.begin(), kBinaryOperators.end(),
                   [&](const BinaryOperator& entry) { return entry.spelling == token.spelling; });
  if (found == kBinaryOperators.end()) return nullptr;
  if (found->op == Operator::kNotIn && tokens.Ahead().spelling != "in") return nullptr;
  return found;
}

// Words that cannot be variables.
bool IsKeyword(std::string_view word) {
  static constexpr std::array<std::string_view, 7> kKeywords = {"and", "or", "not", "in",
                                                                "is",  "if", "else"};
  return std::find(kKeywords.begin(), kKeywords.end(), word) != kKeywords.end();
}

// The value of a word that is a constant.
std::optional<Value> LiteralOf(std::string_view word) {
  if (word == "true" || word == "True") return Value(true);
  if (word == "false" || word == "False") return Value(false);
  if (word == "none" || word == "None") return Value(None{});
  return std::nullopt;
}

void CheckNesting(int depth, int line) {
  if (depth <= kMaxNesting) return;
  Throw(ErrorCode::kLimit, "chat template line {}: nested more than {} levels deep", line,
        kMaxNesting);
}

ExpressionPtr Make(int line, decltype(Expression::form) form) {
  return std::make_unique<Expression>(Expression{line, std::move(form)});
}

ExpressionPtr MakeText(int line, std::string text) {
  return Make(line, Literal{std::make_shared<const Text>(std::move(text), Origin::kTemplate)});
}

}  // namespace

const Token& TokenStream::Take() {
  const Token& token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::IsOperator(std::string_view spelling) const {
  return Current().kind == TokenKind::kOperator && Current().spelling == spelling;
}

bool TokenStream::IsWord(std::string_view word) const {
  return Current().kind == TokenKind::kName && Current().spelling == word;
}

bool TokenStream::SkipOperator(std::string_view spelling) {
  if (!IsOperator(spelling)) return false;
  Take();
  return true;
}

bool TokenStream::SkipWord(std::string_view word) {
  if (!IsWord(word)) return false;
  Take();
  return true;
}

void TokenStream::ExpectOperator(std::string_view spelling) {
  if (!SkipOperator(spelling)) Unexpected(fmt::format("'{}'", spelling));
}

std::string TokenStream::ExpectName() {
  if (Current().kind != TokenKind::kName) Unexpected("a name");
  return std::string(Take().spelling);
}

void TokenStream::Unexpected(std::string_view expected) const {
  const Token& token = Current();
  std::string found;
  switch (token.kind) {
    case TokenKind::kName:
    case TokenKind::kOperator: found = fmt::format("'{}'", token.spelling); break;
    case TokenKind::kVariableEnd:
    case TokenKind::kBlockEnd: found = "the end of the tag"; break;
    case TokenKind::kString: found = "a string"; break;
    case TokenKind::kInteger:
    case TokenKind::kFloat: found = "a number"; break;
    default: found = "the end of the template"; break;
  }
  FailAtLine(token.line, fmt::format("found {}, expected {}", found, expected));
}

NameId NameTable::Intern(const std::string& name) {
  const auto [entry, added] = ids_.try_emplace(name, static_cast<NameId>(names_.size()));
  if (added) names_.push_back(name);
  return entry->second;
}

NestingGuard::NestingGuard(int& depth, int line) : depth_(depth) {
  CheckNesting(depth_ + 1, line);
  ++depth_;
}

ExpressionPtr ExpressionParser::ParseTuple(bool conditionals) {
  const int line = tokens_.line();
  ExpressionPtr first = ParseExpression(conditionals);
  if (!tokens_.IsOperator(",")) return first;
  ListExpression tuple{{}, true};
  tuple.items.push_back(std::move(first));
  while (tokens_.SkipOperator(",")) {
    const TokenKind kind = tokens_.Current().kind;
    if (kind == TokenKind::kVariableEnd || kind == TokenKind::kBlockEnd) break;
    tuple.items.push_back(ParseExpression(conditionals));
  }
  return Make(line, std::move(tuple));
}

ExpressionPtr ExpressionParser::ParseExpression(bool conditionals) {
  const NestingGuard guard(depth_, tokens_.line());
  const int line = tokens_.line();
  ExpressionPtr value = ParseBinary(kLoosest);
  if (!conditionals) return value;
  // a if b if c is (a if b) if c, but what follows "else" nests to the right.
  for (int chained = depth_; tokens_.SkipWord("if"); ++chained) {
    CheckNesting(chained, line);
    ExpressionPtr condition = ParseBinary(kLoosest);
    ExpressionPtr otherwise = tokens_.SkipWord("else") ? ParseExpression() : nullptr;
    value = Make(
        line, ConditionalExpression{std::move(condition), std::move(value), std::move(otherwise)});
  }
  return value;
}

ExpressionPtr ExpressionParser::ParseBinary(int min_level) {
  ExpressionPtr left = ParsePrefix(min_level);
  while (true) {
    const BinaryOperator* next = PeekBinary(tokens_);
    if (next == nullptr || next->level < min_level) return left;
    left = ParseChain(std::move(left), next->level);
  }
}

ExpressionPtr ExpressionParser::ParseChain(ExpressionPtr first, int level) {
  const int line = tokens_.line();
  ChainExpression chain{std::move(first), {}};
  while (true) {
    const BinaryOperator* next = PeekBinary(tokens_);
    if (next == nullptr || next->level != level) break;
    tokens_.Take();
    if (next->op == Operator::kNotIn) tokens_.Take();
    chain.rest.emplace_back(next->op, ParseBinary(level + 1));
  }
  return Make(line, std::move(chain));
}

ExpressionPtr ExpressionParser::ParsePrefix(int min_level) {
  if (!tokens_.IsWord("not")) return ParseUnary(/*with_filters=*/true);
  if (min_level > kNotLevel) tokens_.Unexpected("a value");
  const NestingGuard guard(depth_, tokens_.line());
  const int line = tokens_.Take().line;
  return Make(line, UnaryExpression{Operator::kNot, ParseBinary(kNotLevel)});
}

ExpressionPtr ExpressionParser::ParseUnary(bool with_filters) {
  if (tokens_.IsOperator("-") || tokens_.IsOperator("+")) {
    const NestingGuard guard(depth_, tokens_.line());
    const Token& sign = tokens_.Take();
    const Operator op = sign.spelling == "-" ? Operator::kNegate : Operator::kPlus;
    ExpressionPtr operand = ParseUnary(/*with_filters=*/false);
    return ParseSuffixes(Make(sign.line, UnaryExpression{op, std::move(operand)}), with_filters);
  }
  return ParseSuffixes(ParsePrimary(), with_filters);
}

ExpressionPtr ExpressionParser::ParsePrimary() {
  const Token& token = tokens_.Current();
  switch (token.kind) {
    case TokenKind::kName: return ParseName();
    case TokenKind::kInteger: return Make(token.line, Literal{tokens_.Take().integer});
    case TokenKind::kFloat: return Make(token.line, Literal{tokens_.Take().real});
    case TokenKind::kString: {
      std::string text;  // neighbouring literals are one string
      while (tokens_.Current().kind == TokenKind::kString) text += tokens_.Take().string;
      return MakeText(token.line, std::move(text));
    }
    default: break;
  }
  if (tokens_.IsOperator("(")) return ParseParentheses();
  if (tokens_.IsOperator("[")) return ParseList();
  if (tokens_.IsOperator("{")) return ParseDict();
  tokens_.Unexpected("a value");
}

ExpressionPtr ExpressionParser::ParseName() {
  const Token& token = tokens_.Current();
  const std::string_view name = token.spelling;
  if (IsKeyword(name)) tokens_.Unexpected("a value");
  tokens_.Take();
  if (std::optional<Value> literal = LiteralOf(name)) {
    return Make(token.line, Literal{*std::move(literal)});
  }
  if (name == "loop") ++loop_mentions_;
  return Make(token.line, NameExpression{names_.Intern(std::string(name))});
}

ExpressionPtr ExpressionParser::ParseParentheses() {
  const int line = tokens_.Take().line;
  if (tokens_.SkipOperator(")")) return Make(line, ListExpression{{}, true});
  ExpressionPtr first = ParseExpression();
  if (tokens_.SkipOperator(")")) return first;
  ListExpression tuple{{}, true};
  tuple.items.push_back(std::move(first));
  while (!tokens_.SkipOperator(")")) {
    tokens_.ExpectOperator(",");
    if (!tokens_.IsOperator(")")) tuple.items.push_back(ParseExpression());
  }
  return Make(line, std::move(tuple));
}

ExpressionPtr ExpressionParser::ParseList() {
  const int line = tokens_.Take().line;
  ListExpression list;
  while (!tokens_.SkipOperator("]")) {
    if (!list.items.empty()) tokens_.ExpectOperator(",");
    if (!tokens_.IsOperator("]")) list.items.push_back(ParseExpression());
  }
  return Make(line, std::move(list));
}

ExpressionPtr ExpressionParser::ParseDict() {
  const int line = tokens_.Take().line;
  DictExpression dict;
  while (!tokens_.SkipOperator("}")) {
    if (!dict.items.empty()) tokens_.ExpectOperator(",");
    if (tokens_.IsOperator("}")) continue;
    ExpressionPtr key = ParseExpression();
    tokens_.ExpectOperator(":");
    dict.items.emplace_back(std::move(key), ParseExpression());
  }
  return Make(line, std::move(dict));
}

ExpressionPtr ExpressionParser::ParseSuffixes(ExpressionPtr base, bool with_filters) {
  std::vector<Suffix> suffixes;
  while (true) {
    const int line = tokens_.line();
    if (tokens_.IsOperator(".")) {
      suffixes.push_back(ParseAttribute());
    } else if (tokens_.IsOperator("[")) {
      suffixes.push_back(ParseSubscript());
    } else if (tokens_.IsOperator("(")) {
      suffixes.push_back({line, CallSuffix{ParseArguments()}});
    } else if (with_filters && tokens_.IsOperator("|")) {
      suffixes.push_back(ParseFilter());
    } else if (with_filters && tokens_.IsWord("is")) {
      suffixes.push_back(ParseTest());
    } else {
      break;
    }
  }
  if (suffixes.empty()) return base;
  const int line = base->line;
  return Make(line, SuffixExpression{std::move(base), std::move(suffixes)});
}

Suffix ExpressionParser::ParseAttribute() {
  const int line = tokens_.Take().line;
  if (tokens_.Current().kind == TokenKind::kInteger) {
    return {line, IndexSuffix{Make(line, Literal{tokens_.Take().integer})}};
  }
  return {line, AttributeSuffix{tokens_.ExpectName()}};
}

Suffix ExpressionParser::ParseSubscript() {
  const int line = tokens_.Take().line;
  const auto ends_part = [&] { return tokens_.IsOperator(":") || tokens_.IsOperator("]"); };
  ExpressionPtr key = ends_part() ? nullptr : ParseTuple();
  if (tokens_.SkipOperator("]")) {
    if (!key) tokens_.Unexpected("an index");
    return {line, IndexSuffix{std::move(key)}};
  }
  SliceSuffix slice{std::move(key), nullptr, nullptr};
  tokens_.ExpectOperator(":");
  if (!ends_part()) slice.stop = ParseExpression();
  if (tokens_.SkipOperator(":") && !ends_part()) slice.step = ParseExpression();
  tokens_.ExpectOperator("]");
  return {line, std::move(slice)};
}

Suffix ExpressionParser::ParseFilter() {
  const int line = tokens_.Take().line;
  FilterSuffix suffix;
  suffix.name = tokens_.ExpectName();
  suffix.filter = FindFilter(suffix.name);
  if (tokens_.IsOperator("(")) suffix.arguments = ParseArguments();
  return {line, std::move(suffix)};
}

std::vector<Suffix> ExpressionParser::ParseFilters() {
  std::vector<Suffix> filters;
  while (tokens_.IsOperator("|")) filters.push_back(ParseFilter());
  return filters;
}

Suffix ExpressionParser::ParseTest() {
  const int line = tokens_.Take().line;
  TestSuffix suffix;
  suffix.negated = tokens_.SkipWord("not");
  suffix.name = tokens_.ExpectName();
  suffix.test = FindTest(suffix.name);
  const Token& next = tokens_.Current();
  if (tokens_.IsOperator("(")) {
    suffix.arguments = ParseArguments();
  } else if (next.kind == TokenKind::kString || next.kind == TokenKind::kInteger ||
             next.kind == TokenKind::kFloat || tokens_.IsOperator("[") || tokens_.IsOperator("{") ||
             (next.kind == TokenKind::kName && !IsKeyword(next.spelling))) {
    // "x is divisibleby 3": one argument without brackets.
    const NestingGuard guard(depth_, line);
    suffix.arguments.positional.push_back(ParseSuffixes(ParsePrimary(), /*with_filters=*/false));
  }
  if (tokens_.IsWord("is")) FailAtLine(line, "tests cannot be chained");
  return {line, std::move(suffix)};
}

Arguments ExpressionParser::ParseArguments() {
  tokens_.ExpectOperator("(");
  Arguments arguments;
  for (bool first = true; !tokens_.SkipOperator(")"); first = false) {
    if (!first) tokens_.ExpectOperator(",");
    if (!first && tokens_.SkipOperator(")")) break;
    if (tokens_.Current().kind == TokenKind::kName && tokens_.Ahead().spelling == "=") {
      std::string name = tokens_.ExpectName();
      tokens_.Take();
      arguments.named.emplace_back(std::move(name), ParseExpression());
    } else if (!arguments.named.empty()) {
      tokens_.Unexpected("a named argument");
    } else {
      arguments.positional.push_back(ParseExpression());
    }
  }
  return arguments;
}

Target ExpressionParser::ParseOneTarget(bool attributes) {
  const NestingGuard guard(depth_, tokens_.line());
  if (tokens_.SkipOperator("(")) {
    Target inner = ParseTarget(attributes);
    tokens_.ExpectOperator(")");
    return inner;
  }
  if (tokens_.Current().kind == TokenKind::kName && IsKeyword(tokens_.Current().spelling)) {
    tokens_.Unexpected("a name");
  }
  Target target;
  const std::string name = tokens_.ExpectName();
  if (LiteralOf(name)) FailAtLine(tokens_.line(), fmt::format("cannot assign to '{}'", name));
  target.name = names_.Intern(name);
  if (attributes && tokens_.SkipOperator(".")) target.attribute = tokens_.ExpectName();
  return target;
}

Target ExpressionParser::ParseTarget(bool attributes) {
  Target first = ParseOneTarget(attributes);
  if (!tokens_.IsOperator(",")) return first;
  Target list;
  list.items.push_back(std::move(first));
  while (tokens_.SkipOperator(",")) {
    if (tokens_.Current().kind != TokenKind::kName && !tokens_.IsOperator("(")) break;
    if (tokens_.IsWord("in")) break;
    list.items.push_back(ParseOneTarget(attributes));
  }
  return list;
}

}  // namespace foveate::jinja
