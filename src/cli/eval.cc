// `foveate eval`: what ways of attention cost in quality, side by side on the same cases.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "base/throw.h"
#include "cli/eval_table.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "eval/evaluator.h"
#include "eval/questions.h"
#include "eval/windows.h"
#include "runtime/model_store.h"
#include "runtime/partial_file.h"

namespace foveate::cli {
namespace {

struct Flags {
  ModelOptions model;
  std::vector<std::string> tasks;
  std::vector<std::string> attention = {"full"};
  std::vector<std::uint64_t> contexts = {2048};
  std::int64_t windows = 4;
  std::int64_t trials = 0;
  std::uint64_t seed = 1000;
  std::string text_file;
  std::string database = "foveate-eval.db";
  bool decode = false, fresh = false, json = false;
};

std::int64_t DefaultTrials(std::int64_t context) {
  return context <= 4096 ? 20 : context <= 8192 ? 5 : 2;
}

// The text behind perplexity and needles, read when it is first needed.
class EvalText {
 public:
  explicit EvalText(const std::string& path) : path_(path) {}

  const std::string& text() {
    if (!text_.empty()) return text_;
    std::string path = path_;
    if (path.empty()) {
      path = DefaultCacheFolder() + "/texts/kjv.txt";
      if (!std::filesystem::exists(path)) {
        Throw(ErrorCode::kNotFound,
              "{}: not there; tools/fetch_kjv.sh fetches this text, or name one with --text", path);
      }
    }
    text_ = ReadTextFile(path);
    if (text_.empty()) Throw(ErrorCode::kInvalidArgument, "{}: the text is empty", path);
    return text_;
  }

  const std::vector<TokenId>& tokens(const Tokenizer& tokenizer) {
    if (tokens_.empty()) tokens_ = tokenizer.Encode(text(), {.add_special = false});
    return tokens_;
  }

 private:
  std::string path_;
  std::string text_;
  std::vector<TokenId> tokens_;
};

std::vector<EvalCase> CasesOf(const Flags& flags, EvalTask task, std::int64_t context,
                              const Tokenizer& tokenizer, EvalText& text) {
  const std::int64_t trials = flags.trials > 0 ? flags.trials : DefaultTrials(context);
  switch (task) {
    case EvalTask::kPerplexity: {
      std::vector<TokenId> bos;
      if (tokenizer.adds_bos() && tokenizer.bos()) bos.push_back(*tokenizer.bos());
      return PerplexityCases(text.tokens(tokenizer), bos, context, flags.windows);
    }
    case EvalTask::kPasskey: return PasskeyCases(tokenizer, context, trials, flags.seed);
    case EvalTask::kNeedle: return NeedleCases(tokenizer, text.text(), context, trials, flags.seed);
  }
  return {};
}

std::string HumanTime(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", std::max(1.0, seconds));
  if (seconds < 6000) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

void RunPlanned(const Flags& flags, Context& context, Evaluator& evaluator, EvalResults& results) {
  if (evaluator.planned() == 0) {
    fmt::print(stderr, "{}: all of these cases are there (--fresh evaluates them again)\n",
               flags.database);
    return;
  }
  fmt::print(stderr,
             "{} cases to evaluate, about {} at the pace of dense attention; results go to {}\n",
             evaluator.planned(), HumanTime(evaluator.EstimateSeconds()), flags.database);
  results.Begin({.version = FOVEATE_VERSION,
                 .cpu = CpuName(),
                 .isa = std::string(IsaName(context.isa())),
                 .arguments = fmt::format("{} {} --attention {}", fmt::join(flags.tasks, ","),
                                          flags.model.model, fmt::join(flags.attention, ",")),
                 .threads = context.pool().size()});
  evaluator.Run();
  results.End();
}

int Eval(Flags& flags) {
  std::vector<EvalTask> tasks;
  for (const std::string& task : flags.tasks) tasks.push_back(ParseEvalTask(task));
  std::vector<AttentionSpec> specs = SpecsOf(flags.attention);
  const std::uint64_t most = *std::max_element(flags.contexts.begin(), flags.contexts.end());
  flags.model.context = static_cast<std::int64_t>(most);
  EvalResults results(flags.database);
  const OpenedModel opened = OpenModel(flags.model);
  const Tokenizer* tokenizer = opened.model->tokenizer.get();
  const std::string& path = opened.model->file.path();
  if (tokenizer == nullptr) {
    Throw(ErrorCode::kUnsupported, "{}: the file has no vocabulary", path);
  }
  PullMonitor monitor({}, &Interrupted());
  const EvalModelId id{std::filesystem::path(path).stem(), Sha256OfFile(path, monitor)};
  ProgressBar bar("evaluating");
  Evaluator evaluator(*opened.context, opened.model, id, results,
                      {.attention = std::move(specs),
                       .decoder = opened.decoder,
                       .as_decoding = flags.decode,
                       .again = flags.fresh,
                       .on_progress = [&](double share, const std::string& what) {
                         ThrowIfInterrupted();
                         bar.Update(share, what);
                       }});
  EvalText text(flags.text_file);
  for (const std::uint64_t context : flags.contexts) {
    for (const EvalTask task : tasks) {
      evaluator.Plan(CasesOf(flags, task, static_cast<std::int64_t>(context), *tokenizer, text));
    }
  }
  RunPlanned(flags, *opened.context, evaluator, results);
  bar.Clear();
  const std::vector<EvalSummary> summaries = Summarise(evaluator.Chosen(results.All()));
  if (flags.json) {
    PrintJson({{"model", id.name},
               {"sha256", id.sha256},
               {"cpu", CpuName()},
               {"isa", IsaName(opened.context->isa())},
               {"threads", opened.context->pool().size()},
               {"rows", SummaryJson(summaries)}});
  } else {
    fmt::print("{}", SummaryText(summaries));
  }
  return kExitOk;
}

constexpr const char* kFooter =
    R"(Tasks:
  perplexity  windows of the text, each on its own; targets are the tokens of their second halves
  passkey     a number hidden in repeated filler, asked for at the end (answered greedily)
  needle      a number hidden in the text, at depths from its start to its end

The first way of attention is the baseline of all others. Every case is kept in the results' file
when it is done: the same command goes on where it was stopped. Mechanisms that act on decoding only
(topk, block) are evaluated as decoding: the second half of a window token by token, of a question the
last token and the answer.

Examples:
  foveate eval perplexity smollm2 --attention full,hip:mask_k=512,stride_q=8 --context 2k,8k
  foveate eval perplexity,passkey,needle smollm2 --attention full,window:left=511,right=0 --context 1k,4k
  foveate report foveate-eval.db -o report.html)";

}  // namespace

void AddEvalVerb(CLI::App& app, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "eval", "Perplexity and retrieval with several ways of attention, resumable");
  verb->footer(kFooter);
  verb->add_option("tasks", flags->tasks, "perplexity, passkey, needle: a list")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("TASKS");
  AddModelArgument(*verb, flags->model);
  AddNumericsOptions(*verb, flags->model);
  verb->add_option("--attention,-a", flags->attention,
                   "ways of attention, joined by commas (see `foveate mechanisms`)")
      ->capture_default_str();
  verb->add_option("--context,-c", flags->contexts, "tokens of a case, a list: 1k,4k,8k")
      ->delimiter(',')
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{16}, std::uint64_t{1} << 24))
      ->capture_default_str();
  verb->add_option("--windows", flags->windows,
                   "windows of perplexity at most, spread over the text")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb->add_option("--trials", flags->trials,
                   "questions of each context (default: 20 up to 4k, 5 up to 8k, 2 beyond)")
      ->check(CLI::Range(1, 100'000));
  verb->add_option("--seed", flags->seed, "of the first question")->capture_default_str();
  verb->add_option("--text", flags->text_file, "the text (default: the fetched kjv.txt)");
  verb->add_option("--db", flags->database, "the file of results")->capture_default_str();
  verb->add_flag("--decode", flags->decode, "evaluate every way of attention as decoding");
  verb->add_flag("--fresh", flags->fresh, "evaluate again what has results");
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return Eval(*flags); }; });
}

}  // namespace foveate::cli
