#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/throw.h"
#include "text/byte_bpe.h"
#include "text/sentencepiece_bpe.h"
#include "text/special_splitter.h"
#include "text/subword_model.h"
#include "text/unigram.h"
#include "text/utf8.h"

namespace foveate {
namespace {

// Control tokens that end a turn or a text by their name, whatever the file's keys say.
constexpr std::string_view kEndNames[] = {
    "<|im_end|>",      "<|eot_id|>",    "<|eom_id|>", "<|end|>",  "<|endoftext|>",
    "<|end_of_text|>", "<end_of_turn>", "<|return|>", "<|call|>", "</s>",
    "<EOT>",           "[EOT]",         "[EOS]",      "<eos>",
};

// A text put together from runs, valid UTF-8, and where control tokens must not be found in it.
struct JoinedText {
  std::string text;
  std::vector<TextRange> verbatim;
};

JoinedText Join(std::span<const TextRun> runs) {
  std::int64_t bytes = 0;
  for (const TextRun& run : runs) bytes += static_cast<std::int64_t>(run.text.size());
  if (bytes > Tokenizer::kMostTextBytes) {
    Throw(ErrorCode::kLimit, "the text has {} bytes, at most {} can be encoded at once", bytes,
          Tokenizer::kMostTextBytes);
  }
  JoinedText joined;
  joined.text.reserve(static_cast<std::size_t>(bytes));
  for (const TextRun& run : runs) {
    const std::size_t begin = joined.text.size();
    if (IsValidUtf8(run.text)) {
      joined.text.append(run.text);
    } else {
      AppendRepairedUtf8(run.text, joined.text);
    }
    if (!run.parse_special && joined.text.size() > begin) {
      joined.verbatim.push_back({begin, joined.text.size()});
    }
  }
  return joined;
}

}  // namespace

Tokenizer::Tokenizer(const GgufFile& file)
    : vocabulary_(file), special_(std::make_unique<SpecialSplitter>(vocabulary_)) {}

Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::FromGguf(const GgufFile& file,
                                               std::string_view pre_override) {
  const auto model = file.Get<std::string_view>("tokenizer.ggml.model");
  if (!model) Throw(ErrorCode::kCorruptFile, "{}: no tokenizer.ggml.model", file.path());
  if (*model != "gpt2" && *model != "llama" && *model != "t5") {
    Throw(ErrorCode::kUnsupported,
          "{}: tokenizer.ggml.model is \"{}\"; supported are gpt2, llama and t5", file.path(),
          *model);
  }
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(file));
  if (*model == "gpt2") {
    tokenizer->UseByteBpe(pre_override);
  } else {
    tokenizer->UseSentencePiece(*model == "t5");
  }
  tokenizer->ReadSpecialIds();
  return tokenizer;
}

void Tokenizer::UseByteBpe(std::string_view pre_override) {
  const GgufFile& file = vocabulary_.file();
  std::string_view name = pre_override;
  if (name.empty()) {
    const auto stored = file.Get<std::string_view>("tokenizer.ggml.pre");
    if (!stored) {
      Warn("{}: no tokenizer.ggml.pre; \"default\" splits the text, which may suit the model badly",
           file.path());
    }
    name = stored.value_or("default");
  }
  Pretokenizer pretokenizer(name);
  adds_bos_ = pretokenizer.adds_bos_by_default();
  model_ = std::make_unique<ByteBpe>(vocabulary_, std::move(pretokenizer));
}

void Tokenizer::UseSentencePiece(bool unigram) {
  const GgufFile& file = vocabulary_.file();
  const SentencePieceOptions options = {
      .add_space_prefix = file.Get<bool>("tokenizer.ggml.add_space_prefix").value_or(true),
      .remove_extra_spaces =
          unigram && file.Get<bool>("tokenizer.ggml.remove_extra_whitespaces").value_or(false)};
  if (unigram) {
    model_ = std::make_unique<Unigram>(vocabulary_, options);
  } else {
    model_ = std::make_unique<SentencePieceBpe>(vocabulary_, options);
  }
  adds_bos_ = !unigram;
  adds_eos_ = unigram;
}

void Tokenizer::ReadSpecialIds() {
  const GgufFile& file = vocabulary_.file();
  bos_ = vocabulary_.IdFromKey("tokenizer.ggml.bos_token_id");
  eos_ = vocabulary_.IdFromKey("tokenizer.ggml.eos_token_id");
  adds_bos_ = file.Get<bool>("tokenizer.ggml.add_bos_token").value_or(adds_bos_) && bos_;
  adds_eos_ = file.Get<bool>("tokenizer.ggml.add_eos_token").value_or(adds_eos_) && eos_;

  for (const auto& id : {eos_, vocabulary_.IdFromKey("tokenizer.ggml.eot_token_id"),
                         vocabulary_.IdFromKey("tokenizer.ggml.eom_token_id")}) {
    if (id) end_ids_.push_back(*id);
  }
  for (const std::string_view name : kEndNames) {
    const std::optional<TokenId> id = vocabulary_.Find(name);
    if (id && Type(*id) == TokenType::kControl) end_ids_.push_back(*id);
  }
  std::sort(end_ids_.begin(), end_ids_.end());
  end_ids_.erase(std::unique(end_ids_.begin(), end_ids_.end()), end_ids_.end());
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, EncodeOptions options) const {
  const TextRun run{text, options.parse_special};
  return Encode(std::span(&run, 1), options.add_special);
}

std::vector<TokenId> Tokenizer::Encode(std::span<const TextRun> runs, bool add_special) const {
  const JoinedText joined = Join(runs);
  const std::string_view text = joined.text;
  std::vector<TokenId> ids;
  std::size_t done = 0;
  const auto encode_until = [&](std::size_t end) {
    if (end > done) model_->Encode(text.substr(done, end - done), ids);
  };
  const std::vector<TokenId> markers = Markers(runs);
  SpecialSplitter::Scanner scanner(*special_, text, joined.verbatim, markers);
  while (const auto cut = scanner.Next()) {
    encode_until(cut->begin);
    ids.push_back(cut->id);
    done = cut->end;
  }
  encode_until(text.size());

  if (add_special && adds_bos_ && (ids.empty() || ids.front() != *bos_)) {
    ids.insert(ids.begin(), *bos_);
  }
  if (add_special && adds_eos_) ids.push_back(*eos_);
  return ids;
}

std::vector<TokenId> Tokenizer::Markers(std::span<const TextRun> runs) const {
  std::vector<TokenId> ids;
  if (runs.size() == 1) return ids;
  for (const TextRun& run : runs) {
    if (!run.parse_special) continue;
    SpecialSplitter::Scanner scanner(*special_, run.text, {});
    while (const auto cut = scanner.Next()) {
      const bool blank = Piece(cut->id).find_first_not_of(" \t\r\n") == std::string_view::npos;
      if (Type(cut->id) == TokenType::kUserDefined && !blank) ids.push_back(cut->id);
    }
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool show_special) const {
  std::string text;
  bool drop_space = drops_leading_space();
  for (const TokenId id : ids) {
    CheckId(id);
    AppendTokenText(id, show_special, text);
    if (drop_space && !text.empty()) {
      drop_space = false;
      if (text.front() == ' ' && Type(id) != TokenType::kUserDefined) text.erase(0, 1);
    }
  }
  return text;
}

std::string Tokenizer::TokenText(TokenId id, bool show_special) const {
  CheckId(id);
  std::string text;
  AppendTokenText(id, show_special, text);
  return text;
}

void Tokenizer::AppendTokenText(TokenId id, bool show_special, std::string& out) const {
  const std::string_view piece = vocabulary_.Piece(id);
  switch (vocabulary_.Type(id)) {
    case TokenType::kControl:
    case TokenType::kUnknown:
      if (show_special) out.append(piece);
      return;
    case TokenType::kUserDefined: out.append(piece); return;
    case TokenType::kByte:
      if (const auto byte = Vocabulary::ByteOf(piece)) {
        out.push_back(static_cast<char>(*byte));
      } else {
        out.append(piece);
      }
      return;
    case TokenType::kNormal:
    case TokenType::kUnused: model_->AppendText(piece, out); return;
  }
}

std::string_view Tokenizer::Piece(TokenId id) const {
  CheckId(id);
  return vocabulary_.Piece(id);
}

TokenType Tokenizer::Type(TokenId id) const {
  CheckId(id);
  return vocabulary_.Type(id);
}

std::optional<TokenId> Tokenizer::Find(std::string_view piece) const {
  return vocabulary_.Find(piece);
}

bool Tokenizer::drops_leading_space() const { return model_->adds_space_prefix(); }

bool Tokenizer::IsEndOfGeneration(TokenId id) const {
  return std::binary_search(end_ids_.begin(), end_ids_.end(), id);
}

void Tokenizer::CheckId(TokenId id) const {
  if (!vocabulary_.Contains(id)) {
    Throw(ErrorCode::kInvalidArgument, "token {} is outside the vocabulary of {} tokens", id,
          size());
  }
}

}  // namespace foveate
