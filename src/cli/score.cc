// `foveate score`: how likely a model finds a text, token by token; the way to hold this engine
// against any other.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/logits_file.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "runtime/scoring.h"

namespace foveate::cli {
namespace {

struct ScoreOptions {
  ModelOptions model;
  std::string text_file;
  std::string text;
  std::vector<TokenId> ids;
  std::string logits_file;
  int top = 10;
  bool json = false;
};

std::vector<TokenId> TokensToScore(const ScoreOptions& options, const LanguageModel& model) {
  if (!options.ids.empty()) return options.ids;
  const std::string text =
      options.text_file.empty() ? options.text : ReadTextFile(options.text_file);
  if (model.tokenizer == nullptr) {
    Throw(ErrorCode::kUnsupported, "{}: the file has no vocabulary; give --ids", model.file.path());
  }
  return model.tokenizer->Encode(text);
}

int Score(const ScoreOptions& options) {
  const int sources = !options.ids.empty() + !options.text_file.empty() + !options.text.empty();
  if (sources != 1) {
    Throw(ErrorCode::kInvalidArgument, "score needs one of -p TEXT, -f FILE and --ids 1,2,3");
  }
  const OpenedModel opened = OpenModel(options.model);
  const std::vector<TokenId> ids = TokensToScore(options, *opened.model);
  Decoder decoder(*opened.context, opened.model, opened.decoder);
  ProgressBar bar("scoring");
  std::unique_ptr<LogitsFile> logits_file;
  if (!options.logits_file.empty()) {
    logits_file = std::make_unique<LogitsFile>(options.logits_file, ids.size(),
                                               opened.model->config.vocabulary);
  }
  const Scores scores =
      ScoreTokens(decoder, ids,
                  {.top = options.top,
                   .on_rows =
                       [&](std::int64_t, View<const float, 2> rows) {
                         if (logits_file) logits_file->Append(rows);
                       },
                   .on_progress =
                       [&](std::int64_t done) {
                         ThrowIfInterrupted();
                         bar.Update(static_cast<double>(done) / static_cast<double>(ids.size()),
                                    fmt::format("{}/{} tokens", done, ids.size()));
                       }});
  bar.Clear();
  if (logits_file) logits_file->Commit();

  const auto piece = [&](TokenId id) {
    const Tokenizer* tokenizer = opened.model->tokenizer.get();
    return tokenizer == nullptr || id >= tokenizer->size() ? std::string()
                                                           : std::string(tokenizer->Piece(id));
  };
  if (options.json) {
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    for (const ScoredToken& token : scores.top) {
      top.push_back({{"id", token.id}, {"piece", piece(token.id)}, {"logit", token.logit}});
    }
    // NaN, where there is no target, is printed as null.
    PrintJson({{"tokens", ids.size()},
               {"ids", ids},
               {"nll", scores.nll},
               {"mean_nll", scores.mean_nll()},
               {"perplexity", std::exp(scores.mean_nll())},
               {"top", top}});
    return kExitOk;
  }
  fmt::print("tokens            {}\n", ids.size());
  if (!scores.nll.empty()) {
    fmt::print("mean NLL          {:.5f} nats over {} targets\n", scores.mean_nll(),
               scores.nll.size());
    fmt::print("perplexity        {:.4f}\n", std::exp(scores.mean_nll()));
  }
  fmt::print("most likely next:\n");
  for (const ScoredToken& token : scores.top) {
    fmt::print("  {:>8}  {:>10.4f}  {}\n", token.id, token.logit, Quoted(piece(token.id)));
  }
  return kExitOk;
}

}  // namespace

void AddScoreVerb(CLI::App& app, Work& work) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* verb = app.add_subcommand(
      "score", "Negative log-likelihood of a text, and the most likely next tokens");
  AddModelArgument(*verb, options->model);
  AddDecoderOptions(*verb, options->model);
  verb->add_option("-p,--prompt", options->text, "the text to score");
  verb->add_option("-f,--file", options->text_file, "a file with the text (- for standard input)");
  verb->add_option("--ids", options->ids, "token ids instead of text: 1,2,3")->delimiter(',');
  verb->add_option("--top", options->top, "how many of the last position's best tokens to show")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  verb->add_option("--logits", options->logits_file,
                   "write every position's logits to this safetensors file");
  verb->add_flag("--json", options->json, "print one JSON object");
  verb->callback([options, &work] { work = [options] { return Score(*options); }; });
}

}  // namespace foveate::cli
