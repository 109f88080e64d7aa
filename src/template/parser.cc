#include "template/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "template/expression_parser.h"
#include "template/lexer.h"

namespace foveate::jinja {
namespace {

class TemplateParser {
 public:
  explicit TemplateParser(std::vector<Token> tokens)
      : tokens_(std::move(tokens)), expressions_(tokens_, names_, depth_) {}

  Template Run() {
    Body body = ParseBody({});
    return {std::move(body), names_.Take()};
  }

 private:
  // Statements up to a block tag that starts with one of `ends`, or the end of the template if
  // there are none. Stops at that word; the "{%" before it is consumed.
  Body ParseBody(std::initializer_list<std::string_view> ends) {
    const NestingGuard guard(depth_, tokens_.line());
    const int line = tokens_.line();
    Body body;
    while (tokens_.Current().kind != TokenKind::kEnd) {
      const Token& token = tokens_.Take();
      if (token.kind == TokenKind::kData) {
        auto text = std::make_shared<const Text>(token.string, Origin::kTemplate);
        body.emplace_back(token.line, DataStatement{std::move(text)});
      } else if (token.kind == TokenKind::kVariableBegin) {
        body.emplace_back(token.line, OutputStatement{expressions_.ParseTuple()});
        ExpectEnd(TokenKind::kVariableEnd);
      } else {
        const auto is_here = [&](std::string_view word) { return tokens_.IsWord(word); };
        if (std::any_of(ends.begin(), ends.end(), is_here)) return body;
        body.push_back(ParseStatement());
      }
    }
    if (ends.size() > 0) {
      FailAtLine(line, fmt::format("a block without '{}'", *(ends.end() - 1)));
    }
    return body;
  }

  // The body between "%}" and the word `end`, which is consumed with its tag.
  Body ParseWholeBody(std::string_view end) {
    ExpectEnd(TokenKind::kBlockEnd);
    Body body = ParseBody({end});
    tokens_.Take();
    return body;
  }

  void ExpectEnd(TokenKind kind) {
    if (tokens_.Current().kind != kind) tokens_.Unexpected("the end of the tag");
    tokens_.Take();
  }

  Statement ParseStatement() {
    const int line = tokens_.line();
    const std::string word = tokens_.ExpectName();
    Statement statement{line, ParseForm(line, word)};
    ExpectEnd(TokenKind::kBlockEnd);
    return statement;
  }

  decltype(Statement::form) ParseForm(int line, const std::string& word) {
    if (word == "if") return ParseIf();
    if (word == "for") return ParseFor();
    if (word == "set") return ParseSet();
    if (word == "macro") return ParseMacro();
    if (word == "break" || word == "continue") {
      if (loops_ == 0) FailAtLine(line, fmt::format("'{}' outside of a loop", word));
      return word == "break" ? LoopControl::kBreak : LoopControl::kContinue;
    }
    if (word == "generation") {
      const int loops = std::exchange(loops_, 0);
      Body body = ParseWholeBody("endgeneration");
      loops_ = loops;
      return ScopedStatement{std::move(body)};
    }
    static constexpr std::array<std::string_view, 11> kUnsupported = {
        "autoescape", "block",  "call",    "do",    "extends", "filter",
        "from",       "import", "include", "trans", "with"};
    const bool known =
        std::find(kUnsupported.begin(), kUnsupported.end(), word) != kUnsupported.end();
    FailAtLine(line, known ? fmt::format("the statement '{}' is not supported", word)
                           : fmt::format("unexpected statement '{}'", word));
  }

  IfStatement ParseIf() {
    IfStatement statement;
    bool open = true;
    while (open) {
      ExpressionPtr condition = expressions_.ParseTuple(/*conditionals=*/false);
      ExpectEnd(TokenKind::kBlockEnd);
      Body body = ParseBody({"elif", "else", "endif"});
      statement.branches.push_back({std::move(condition), std::move(body)});
      open = tokens_.SkipWord("elif");
    }
    if (tokens_.SkipWord("else")) {
      statement.branches.push_back({nullptr, ParseWholeBody("endif")});
    } else {
      tokens_.Take();
    }
    return statement;
  }

  ForStatement ParseFor() {
    ForStatement statement;
    statement.target = expressions_.ParseTarget(/*attributes=*/false);
    if (!tokens_.SkipWord("in")) tokens_.Unexpected("'in'");
    statement.iterable = expressions_.ParseTuple(/*conditionals=*/false);
    if (tokens_.SkipWord("if")) statement.condition = expressions_.ParseExpression();
    if (tokens_.IsWord("recursive")) {
      FailAtLine(tokens_.line(), "recursive loops are not supported");
    }
    ExpectEnd(TokenKind::kBlockEnd);
    const int mentions = expressions_.loop_mentions();
    ++loops_;
    statement.body = ParseBody({"else", "endfor"});
    --loops_;
    if (expressions_.loop_mentions() > mentions) statement.loop_name = names_.Intern("loop");
    if (tokens_.SkipWord("else")) {
      statement.otherwise = ParseWholeBody("endfor");
    } else {
      tokens_.Take();
    }
    return statement;
  }

  decltype(Statement::form) ParseSet() {
    Target target = expressions_.ParseTarget(/*attributes=*/true);
    if (tokens_.SkipOperator("=")) {
      return SetStatement{std::move(target), expressions_.ParseTuple()};
    }
    std::vector<Suffix> filters = expressions_.ParseFilters();
    return SetBlockStatement{std::move(target), std::move(filters), ParseWholeBody("endset")};
  }

  MacroStatement ParseMacro() {
    MacroStatement macro;
    macro.name = names_.Intern(tokens_.ExpectName());
    tokens_.ExpectOperator("(");
    while (!tokens_.SkipOperator(")")) {
      if (!macro.parameters.empty()) tokens_.ExpectOperator(",");
      MacroStatement::Parameter parameter{names_.Intern(tokens_.ExpectName()), nullptr};
      if (tokens_.SkipOperator("=")) {
        parameter.default_value = expressions_.ParseExpression();
      } else if (!macro.parameters.empty() && macro.parameters.back().default_value) {
        tokens_.Unexpected("'=', as for the parameter before");
      }
      macro.parameters.push_back(std::move(parameter));
    }
    // A loop around the definition is not one that the body could leave.
    const int loops = std::exchange(loops_, 0);
    macro.body = ParseWholeBody("endmacro");
    loops_ = loops;
    return macro;
  }

  TokenStream tokens_;
  NameTable names_;
  int depth_ = 0;
  int loops_ = 0;  // around the current statement
  ExpressionParser expressions_;
};

}  // namespace

Template ParseTemplate(std::string_view source) {
  const std::string normal = NormalizeSource(source);
  return TemplateParser(Tokenize(normal)).Run();
}

}  // namespace foveate::jinja
