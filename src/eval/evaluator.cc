#include "eval/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/stopwatch.h"
#include "eval/perplexity.h"

namespace foveate {
namespace {

// What changes numbers, as text that is the same for the same.
std::string OptionsText(const DecoderOptions& options) {
  std::string text = fmt::format("kv={}/{}, activations={}", KvTypeName(options.key_type),
                                 KvTypeName(options.value_type),
                                 options.activations == ActivationMode::kQ8 ? "q8" : "f32");
  if (options.rope_scaling) {
    text += fmt::format(", rope={} {:g}", RopeScalingName(options.rope_scaling->type),
                        options.rope_scaling->factor);
  }
  return text;
}

// Seconds of dense attention and all else: of a token of a prompt, of a pair of query and key
// there, and of a step of decoding.
struct Pace {
  double token = 0, pair = 0, step = 0;

  double Of(const EvalCase& question, bool as_decoding) const {
    const auto n = static_cast<double>(question.context);
    const double prompt = token * n + pair * n * n / 2;
    if (question.task != EvalTask::kPerplexity || !as_decoding) return prompt;
    return token * n / 2 + pair * n * n / 8 + n / 2 * (step + pair * n * 3 / 4);
  }
};

Pace MeasurePace(Context& context, const std::shared_ptr<const LanguageModel>& model,
                 DecoderOptions options) {
  options.context = 4 * options.chunk + 8;
  options.attention.reset();
  Decoder decoder(context, model, options);
  const std::vector<TokenId> tokens(options.chunk, 0);
  const auto chunk = static_cast<double>(options.chunk);
  double first = 0, last = 0;
  for (int i = 0; i < 4; ++i) {
    const Stopwatch watch;
    decoder.Evaluate(tokens, true);
    last = watch.Seconds();
    if (i == 0) first = last;
  }
  const Stopwatch watch;
  constexpr int kSteps = 4;
  for (int i = 0; i < kSteps; ++i) decoder.Evaluate({tokens.data(), 1});
  const double step = watch.Seconds() / kSteps;
  return {.token = first / chunk,
          .pair = std::max(0.0, last - first) / (chunk * 3 * chunk),
          .step = step};
}

}  // namespace

Evaluator::Evaluator(Context& context, std::shared_ptr<const LanguageModel> model,
                     const EvalModelId& id, EvalResults& results, EvaluatorOptions options)
    : context_(context), model_(std::move(model)), results_(results), options_(std::move(options)) {
  bool has_decoding = false;
  for (const AttentionSpec& spec : options_.attention) {
    const bool as_decoding = options_.as_decoding || ActsOnDecodingOnly(spec);
    if (as_decoding && !has_decoding) {
      has_decoding = true;
      if (!settings_.empty()) Add(id, options_.attention[0], true);
    }
    Add(id, spec, as_decoding);
  }
}

void Evaluator::Add(const EvalModelId& id, const AttentionSpec& attention, bool as_decoding) {
  PlanAttention(model_->config, attention);  // refuses what the model cannot use before any work
  const std::int64_t setting =
      results_.Setting(id, attention, OptionsText(options_.decoder), as_decoding);
  settings_.push_back({setting, attention, as_decoding});
}

void Evaluator::Plan(std::vector<EvalCase> cases) {
  for (EvalCase& question : cases) {
    Planned planned{.question = std::move(question), .id = 0, .settings = {}};
    planned.id = results_.Case(planned.question);
    questions_.insert(planned.id);
    for (std::size_t i = 0; i < settings_.size(); ++i) {
      if (options_.again || !results_.Has(settings_[i].id, planned.id)) {
        planned.settings.push_back(i);
      }
    }
    if (planned.settings.empty()) continue;
    const auto after = [](std::int64_t context, const Planned& other) {
      return context < other.question.context;
    };
    const auto at =
        std::upper_bound(planned_.begin(), planned_.end(), planned.question.context, after);
    planned_.insert(at, std::move(planned));
  }
}

std::int64_t Evaluator::planned() const {
  std::int64_t count = 0;
  for (const Planned& planned : planned_) count += std::ssize(planned.settings);
  return count;
}

double Evaluator::EstimateSeconds() const {
  const Pace pace = MeasurePace(context_, model_, options_.decoder);
  double seconds = 0;
  for (const Planned& planned : planned_) {
    for (const std::size_t i : planned.settings) {
      seconds += pace.Of(planned.question, settings_[i].as_decoding);
    }
  }
  return seconds;
}

void Evaluator::Run() {
  std::vector<std::unique_ptr<EvalSubject>> subjects;
  std::int64_t context = 0;
  double done = 0, all = 0;  // tokens
  const auto cost = [](const Planned& planned) {
    return static_cast<double>(planned.question.context * std::ssize(planned.settings));
  };
  for (const Planned& planned : planned_) all += cost(planned);
  for (const Planned& planned : planned_) {
    const EvalCase& question = planned.question;
    if (context != question.context) {
      context = question.context;
      subjects.clear();  // before new caches are made
      subjects = MakeSubjects(context);
    }
    const auto check = [&] {
      if (!options_.on_progress) return;
      options_.on_progress(done / all,
                           fmt::format("{} at {}", EvalTaskName(question.task), context));
    };
    if (question.task == EvalTask::kPerplexity) {
      for (const bool as_decoding : {false, true}) {
        RunWindow(planned, as_decoding, subjects, check);
      }
    } else {
      for (const std::size_t i : planned.settings) {
        results_.Put(planned.id, {{settings_[i].id, Answer(*subjects[i], question, check)}});
      }
    }
    done += cost(planned);
  }
  planned_.clear();
}

std::vector<StoredResult> Evaluator::Chosen(std::vector<StoredResult> results) const {
  std::erase_if(results, [&](const StoredResult& result) {
    const bool is_own = std::any_of(settings_.begin(), settings_.end(), [&](const Setting& own) {
      return own.id == result.setting.id;
    });
    return !is_own || !questions_.contains(result.question_id);
  });
  return results;
}

// Those of a window that are evaluated alike, beside their baseline.
void Evaluator::RunWindow(const Planned& planned, bool as_decoding,
                          const std::vector<std::unique_ptr<EvalSubject>>& subjects,
                          const EvalSubject::Check& check) {
  const auto alike = [&](const Setting& setting) { return setting.as_decoding == as_decoding; };
  const auto baseline = static_cast<std::size_t>(
      std::find_if(settings_.begin(), settings_.end(), alike) - settings_.begin());
  std::vector<EvalSubject*> used;
  std::vector<std::size_t> missing;
  for (const std::size_t i : planned.settings) {
    if (!alike(settings_[i])) continue;
    if (used.empty() && i != baseline) used.push_back(subjects[baseline].get());
    used.push_back(subjects[i].get());
    missing.push_back(i);
  }
  if (missing.empty()) return;
  const std::vector<EvalOutcome> outcomes = EvaluateWindow(context_, used, planned.question, check);
  const std::size_t not_kept = used.size() - missing.size();  // a baseline that is there already
  std::map<std::int64_t, EvalOutcome> kept;
  for (std::size_t i = 0; i < missing.size(); ++i) {
    kept[settings_[missing[i]].id] = outcomes[not_kept + i];
  }
  results_.Put(planned.id, kept);
}

std::vector<std::unique_ptr<EvalSubject>> Evaluator::MakeSubjects(std::int64_t context) const {
  std::vector<std::unique_ptr<EvalSubject>> subjects;
  for (const Setting& setting : settings_) {
    DecoderOptions decoder = options_.decoder;
    decoder.context = context;
    decoder.attention = setting.attention;
    subjects.push_back(
        std::make_unique<EvalSubject>(context_, model_, decoder, setting.as_decoding));
  }
  return subjects;
}

}  // namespace foveate
