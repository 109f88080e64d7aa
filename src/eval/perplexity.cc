#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/buffer.h"
#include "base/throw.h"
#include "runtime/scoring.h"
#include "runtime/session.h"

namespace foveate {
namespace {

constexpr std::int64_t kTileRows = 16;  // rows of logits at a time

// What is needed of a row of logits to compare it with others.
struct Distribution {
  std::span<const float> logits;
  double log_sum = 0;
  std::int64_t best = 0;

  explicit Distribution(std::span<const float> values)
      : logits(values), log_sum(LogSumExp(values)), best(ArgMax(values)) {}
};

// KL(p || q).
double Divergence(const Distribution& p, const Distribution& q) {
  double sum = 0;
  for (std::size_t i = 0; i < p.logits.size(); ++i) {
    const double log_p = p.logits[i] - p.log_sum;
    sum += std::exp(log_p) * (log_p - (q.logits[i] - q.log_sum));
  }
  return sum;
}

class Evaluation {
 public:
  Evaluation(Context& context, std::span<EvalSubject* const> subjects, const EvalCase& window)
      : context_(context),
        subjects_(subjects),
        ids_(window.tokens),
        half_(window.context / 2),
        targets_(window.context - half_ - 1),
        vocabulary_(subjects[0]->decoder().model().config.vocabulary),
        scores_(subjects.size()) {
    for (Scores& scores : scores_) {
      scores.nll.resize(targets_);
      scores.divergence.resize(targets_);
      scores.agrees.resize(targets_);
      scores.logits = Buffer<float>(kTileRows * vocabulary_);
    }
  }

  void Run(const EvalSubject::Check& check) {
    const std::int64_t chunk = subjects_[0]->decoder().options().chunk;
    for (EvalSubject* subject : subjects_) {
      subject->Restart();
      if (!subject->as_decoding()) subject->Count();
    }
    for (std::int64_t start = 0; start < half_; start += chunk) {
      const auto part = ids_.subspan(start, std::min(chunk, half_ - start));
      for (EvalSubject* subject : subjects_) subject->Evaluate(part, true, check);
    }
    for (EvalSubject* subject : subjects_) subject->Count();
    for (std::int64_t start = half_; start < half_ + targets_; start += chunk) {
      SecondHalf(start, std::min(chunk, half_ + targets_ - start), check);
    }
  }

  std::vector<EvalOutcome> Outcomes() const {
    std::vector<EvalOutcome> outcomes;
    for (std::size_t i = 0; i < subjects_.size(); ++i) {
      EvalOutcome outcome = subjects_[i]->Cost();
      outcome.nll = scores_[i].nll;
      outcome.divergence = Mean(scores_[i].divergence);
      outcome.agreement = Mean(scores_[i].agrees);
      outcomes.push_back(std::move(outcome));
    }
    return outcomes;
  }

 private:
  // Of a subject, by target.
  struct Scores {
    std::vector<float> nll;
    std::vector<double> divergence, agrees;
    Buffer<float> logits;  // [kTileRows, V]
  };

  static double Mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  }

  // Rows [start, start + count), whose targets are the tokens after them.
  void SecondHalf(std::int64_t start, std::int64_t count, const EvalSubject::Check& check) {
    for (EvalSubject* subject : subjects_) {
      if (!subject->as_decoding()) subject->Evaluate(ids_.subspan(start, count), true, check);
    }
    for (std::int64_t row = 0; row < count; row += kTileRows) {
      const std::int64_t rows = std::min(kTileRows, count - row);
      if (check) check();
      for (std::size_t i = 0; i < subjects_.size(); ++i) {
        ComputeLogits(*subjects_[i], start, row, rows, scores_[i].logits.data());
      }
      context_.pool().ForEach(rows,
                              [&](std::int64_t r, int) { Compare(r, start + row + r - half_); });
      const auto first = scores_[0].nll.begin() + (start + row - half_);
      if (std::any_of(first, first + rows, [](float nll) { return std::isnan(nll); })) {
        Throw(ErrorCode::kNumerical, "NaN logits at position {} or soon after", start + row);
      }
    }
  }

  void ComputeLogits(EvalSubject& subject, std::int64_t start, std::int64_t row, std::int64_t rows,
                     float* logits) {
    if (!subject.as_decoding()) {
      subject.Logits(row, MakeView(logits, rows, vocabulary_));
      return;
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      subject.Evaluate(ids_.subspan(start + row + r, 1), false);
      subject.Logits(0, MakeView(logits + r * vocabulary_, std::int64_t{1}, vocabulary_));
    }
  }

  void Compare(std::int64_t row, std::int64_t target) {
    const auto of = [&](const Scores& scores) {
      return Distribution(
          {scores.logits.data() + row * vocabulary_, static_cast<std::size_t>(vocabulary_)});
    };
    const Distribution baseline = of(scores_[0]);
    for (Scores& scores : scores_) {
      const bool is_baseline = &scores == scores_.data();
      const Distribution own = is_baseline ? baseline : of(scores);
      scores.nll[target] = static_cast<float>(own.log_sum - own.logits[ids_[half_ + target + 1]]);
      scores.agrees[target] = own.best == baseline.best;
      scores.divergence[target] = is_baseline ? 0 : Divergence(baseline, own);
    }
  }

  Context& context_;
  std::span<EvalSubject* const> subjects_;
  std::span<const TokenId> ids_;
  std::int64_t half_, targets_, vocabulary_;
  std::vector<Scores> scores_;
};

}  // namespace

std::vector<EvalOutcome> EvaluateWindow(Context& context, std::span<EvalSubject* const> subjects,
                                        const EvalCase& window, const EvalSubject::Check& check) {
  Evaluation evaluation(context, subjects, window);
  evaluation.Run(check);
  return evaluation.Outcomes();
}

}  // namespace foveate
