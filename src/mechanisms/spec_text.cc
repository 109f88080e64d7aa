// The text form of specs:
//
//   spec   = layers | either                     layers = range "=" either { ";" range "=" either }
//   either = both { "|" both }                   both   = term { "&" term }
//   term   = "(" either ")" | "heads" "(" layers ")" | name [ ":" key "=" value { "," key "=" value
//   } ]
#include <algorithm>
#include <cctype>

#include "base/mapped_file.h"
#include "base/throw.h"
#include "format/printable.h"
#include "mechanisms/spec_reader.h"

namespace foveate {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char c) { return '0' <= c && c <= '9'; }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

class SpecParser {
 public:
  SpecParser(std::string_view text, SpecFiles files) : rest_(text), files_(files) {}

  AttentionSpec Parse() {
    const bool by_layer = IsDigit(Peek());
    RangedNodes layers = by_layer ? ReadRanges("layers") : RangedNodes{{{0, kNoEnd}, ReadEither()}};
    if (Peek() != '\0' || !rest_.empty()) Expect("the end of the spec");
    return SpecOf(std::move(layers));
  }

 private:
  // The next character that is no space; 0 at the end.
  char Peek() {
    while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
    return rest_.empty() ? '\0' : rest_.front();
  }

  bool Take(char c) {
    if (Peek() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }

  [[noreturn]] void Expect(std::string_view what) const {
    Throw(ErrorCode::kInvalidArgument, "attention spec: expected {}, found {}", what,
          rest_.empty() ? "the end" : "'" + Printable(rest_) + "'");
  }

  std::string_view TakeUntil(std::string_view ends) {
    const std::string_view text = rest_.substr(0, rest_.find_first_of(ends));
    rest_.remove_prefix(text.size());
    return Trimmed(text);
  }

  RangedNodes ReadRanges(std::string_view what) {
    RangedNodes nodes;
    do {
      Peek();
      const Range range = ParseIndexRange(TakeUntil("=;()&|,:"), what);
      if (!Take('=')) Expect("'=' and a mechanism");
      nodes.emplace_back(range, ReadEither());
    } while (Take(';'));
    return nodes;
  }

  SpecNodePtr ReadEither() {
    std::vector<SpecNodePtr> children;
    do {
      children.push_back(ReadBoth());
    } while (Take('|'));
    return CombinedNode(SpecNode::Kind::kOr, std::move(children));
  }

  SpecNodePtr ReadBoth() {
    std::vector<SpecNodePtr> children;
    do {
      children.push_back(ReadTerm());
    } while (Take('&'));
    return CombinedNode(SpecNode::Kind::kAnd, std::move(children));
  }

  SpecNodePtr ReadTerm() {
    if (Take('(')) return ReadBrackets(false);
    if (++terms_ > kMostSpecTerms) {
      Throw(ErrorCode::kLimit, "an attention spec of more than {} mechanisms", kMostSpecTerms);
    }
    const std::string_view name = TakeUntil(":,;&|()=");
    if (name.empty()) Expect("the name of a mechanism");
    if (name == "heads" && Take('(')) return ReadBrackets(true);
    MechanismReader reader(name, files_);
    if (Take(':')) ReadParams(reader);
    return reader.Finish();
  }

  // What follows an opening bracket.
  SpecNodePtr ReadBrackets(bool heads) {
    if (++depth_ > kMostSpecDepth) {
      Throw(ErrorCode::kLimit, "an attention spec nested more than {} deep", kMostSpecDepth);
    }
    if (heads && within_heads_) {
      Throw(ErrorCode::kInvalidArgument, "attention spec: heads(...) within heads(...)");
    }
    within_heads_ = within_heads_ || heads;
    const SpecNodePtr node = heads ? HeadsNode(ReadRanges("heads")) : ReadEither();
    if (!Take(')')) Expect("')'");
    if (heads) within_heads_ = false;
    --depth_;
    return node;
  }

  void ReadParams(MechanismReader& reader) {
    do {
      Peek();
      const std::string_view key = TakeUntil("=,;&|():");
      const Param& param = reader.Find(key);
      if (!Take('=')) Expect("'=' and " + Expected(param));
      const std::string_view value = TakeUntil(",;&|()");
      reader.Set(key, ParamFromText(reader.mechanism(), param, value));
    } while (Take(','));
  }

  std::string_view rest_;
  SpecFiles files_;
  int depth_ = 0;
  bool within_heads_ = false;
  std::size_t terms_ = 0;
};

AttentionSpec ParseFile(std::string_view path, SpecFiles files) {
  CheckFile(path, files);
  const MappedFile file = MappedFile::Open(std::string(path));
  return ParseAttentionJson(
      {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, files);
}

// Whether a comma before this text begins a new spec.
bool BeginsSpec(std::string_view text) {
  const std::size_t equals = text.find('=');
  return equals == std::string_view::npos || text.find(':') < equals;
}

// Text up to the next comma outside of brackets and JSON strings.
std::size_t PieceEnd(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '(' || c == '[' || c == '{') {
      ++depth;
    } else if (c == ')' || c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && depth <= 0) {
      return i;
    }
  }
  return text.size();
}

}  // namespace

AttentionSpec ParseAttentionSpec(std::string_view text, SpecFiles files) {
  if (text.size() > kMostSpecBytes) {
    Throw(ErrorCode::kLimit, "an attention spec of {} bytes, at most {} are read", text.size(),
          kMostSpecBytes);
  }
  text = Trimmed(text);
  if (text.substr(0, 1) == "{") return ParseAttentionJson(text, files);
  if (text.substr(0, 1) == "@") return ParseFile(text.substr(1), files);
  return SpecParser(text, files).Parse();
}

std::vector<AttentionSpec> ParseSpecList(std::string_view text, SpecFiles files) {
  std::vector<AttentionSpec> specs;
  std::size_t begin = 0;
  std::size_t end = PieceEnd(text);
  while (true) {
    // The spec goes on while the next piece does not begin one.
    while (end < text.size()) {
      const std::string_view next = text.substr(end + 1);
      const std::size_t size = PieceEnd(next);
      if (BeginsSpec(next.substr(0, size))) break;
      end += 1 + size;
    }
    specs.push_back(ParseAttentionSpec(text.substr(begin, end - begin), files));
    if (end >= text.size()) return specs;
    begin = end + 1;
    end = begin + PieceEnd(text.substr(begin));
  }
}

}  // namespace foveate
