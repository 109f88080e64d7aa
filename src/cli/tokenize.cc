// `foveate tokenize`: text to ids and pieces, ids to text, chat messages to a rendered prompt.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "runtime/chat_prompt.h"

namespace foveate::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string pre_tokenizer;
  std::string text;
  std::string text_file;
  std::vector<TokenId> ids;
  std::string messages_file;
  bool no_special = false;
  bool no_bos = false;
  bool count = false;
  bool json = false;
};

// The vocabulary and template alone: no weights are read.
LanguageModel OpenVocabulary(const TokenizeOptions& options) {
  LanguageModel model{GgufFile::Open(ResolveModel(options.model)), {}, nullptr, {}, {}};
  model.tokenizer = Tokenizer::FromGguf(model.file, options.pre_tokenizer);
  model.chat_template =
      std::string(model.file.Get<std::string_view>("tokenizer.chat_template").value_or(""));
  return model;
}

void PrintTokens(const TokenizeOptions& options, const Tokenizer& tokenizer,
                 const std::vector<TokenId>& ids) {
  if (options.json) {
    nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
    for (TokenId id : ids) pieces.push_back(tokenizer.Piece(id));
    PrintJson({{"ids", ids}, {"pieces", pieces}});
  } else if (options.count) {
    fmt::print("{}\n", ids.size());
  } else {
    for (TokenId id : ids) fmt::print("{:>8}  {}\n", id, Quoted(tokenizer.Piece(id)));
  }
}

int Detokenize(const TokenizeOptions& options, const Tokenizer& tokenizer) {
  const std::string text = tokenizer.Decode(options.ids, !options.no_special);
  if (options.json) {
    PrintJson({{"text", text}});
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
    fmt::print("\n");
  }
  return kExitOk;
}

int TokenizeChat(const TokenizeOptions& options, const LanguageModel& model) {
  const auto messages =
      nlohmann::ordered_json::parse(ReadTextFile(options.messages_file), nullptr, false);
  if (messages.is_discarded()) {
    Throw(ErrorCode::kBadRequest, "{}: not valid JSON", options.messages_file);
  }
  // Either the list itself or an object with the list in it, as chat services take it.
  const bool wrapped = messages.is_object() && messages.contains("messages");
  const auto runs =
      RenderChat(MakeChatTemplate(model), model, wrapped ? messages["messages"] : messages);
  const std::vector<TokenId> ids = EncodeRuns(*model.tokenizer, runs, !options.no_bos);
  if (!options.json) {
    fmt::print("{}", JoinRuns(runs));
    return kExitOk;
  }
  nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
  for (TokenId id : ids) pieces.push_back(model.tokenizer->Piece(id));
  PrintJson({{"text", JoinRuns(runs)}, {"ids", ids}, {"pieces", pieces}});
  return kExitOk;
}

int Tokenize(const TokenizeOptions& options) {
  const LanguageModel model = OpenVocabulary(options);
  if (!options.ids.empty()) return Detokenize(options, *model.tokenizer);
  if (!options.messages_file.empty()) return TokenizeChat(options, model);
  const std::string file =
      options.text.empty() && options.text_file.empty() ? "-" : options.text_file;
  const std::string text = file.empty() ? options.text : ReadTextFile(file);
  PrintTokens(options, *model.tokenizer,
              model.tokenizer->Encode(
                  text, {.parse_special = !options.no_special, .add_special = !options.no_bos}));
  return kExitOk;
}

}  // namespace

void AddTokenizeVerb(CLI::App& app, Work& work) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb = app.add_subcommand("tokenize", "Text to token ids and back");
  verb->add_option("model", options->model, "GGUF file, known name or hf:org/repo/file.gguf")
      ->required()
      ->type_name("MODEL");
  verb->add_option("text", options->text, "the text (default: standard input)");
  verb->add_option("-f,--file", options->text_file, "a file with the text (- for stdin)");
  verb->add_option("--detokenize", options->ids, "ids to turn into text: 1,2,3")->delimiter(',');
  verb->add_option("--chat", options->messages_file,
                   "a JSON list of chat messages to render with the model's template");
  verb->add_flag("--no-special", options->no_special,
                 "control tokens in the text are ordinary text (and left out by --detokenize)");
  verb->add_flag("--no-bos", options->no_bos, "add no BOS or EOS");
  verb->add_flag("--count", options->count, "print only the number of tokens");
  verb->add_flag("--json", options->json, "print one JSON object");
  verb->add_option("--pre", options->pre_tokenizer, "replace the file's pre-tokeniser name");
  verb->callback([options, &work] { work = [options] { return Tokenize(*options); }; });
}

}  // namespace foveate::cli
