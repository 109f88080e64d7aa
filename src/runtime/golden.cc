#include "runtime/golden.h"

#include <algorithm>
#include <cmath>

#include "base/mapped_file.h"
#include "base/throw.h"
#include "runtime/chat_prompt.h"
#include "runtime/scoring.h"

namespace foveate {
namespace {

using Json = nlohmann::json;

// One check of a golden file: a decoder that is rewound for every prompt, and its findings.
class GoldenChecker {
 public:
  GoldenChecker(Context& context, const std::shared_ptr<const LanguageModel>& model,
                const DecoderOptions& options, const Json& golden, const std::string& folder,
                const GoldenOptions& check)
      : golden_(golden),
        folder_(folder),
        check_(check),
        decoder_(context, model, options),
        logits_(model->config.vocabulary) {
    report_.tolerance = ToleranceFor(golden, options);
  }

  GoldenReport Run() {
    for (const Json& prompt : golden_.at("prompts")) CheckPrompt(prompt);
    CheckAverages();
    if (check_.nll && golden_.contains("nll")) CheckNll(golden_.at("nll"));
    return std::move(report_);
  }

 private:
  const LanguageModel& model() const { return decoder_.model(); }
  const GoldenTolerance& tolerance() const { return report_.tolerance; }

  void Step(const std::string& what) const {
    if (check_.on_step) check_.on_step(what);
  }

  void Violate(GoldenPromptResult& result, const std::string& problem) {
    result.violations.push_back(problem);
    report_.violations.push_back(result.name + ": " + problem);
  }

  std::span<const float> LogitsOf(std::int64_t row) {
    decoder_.Logits(row, MakeView(logits_.data(), 1, logits_.size()));
    return {logits_.data(), static_cast<std::size_t>(logits_.size())};
  }

  std::string FileText(const std::string& name) const {
    const MappedFile file = MappedFile::Open(folder_ + "/" + name);
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
  }

  std::vector<TokenId> Encode(const Json& prompt) const {
    const Tokenizer& tokenizer = *model().tokenizer;
    const std::string kind = prompt.at("kind");
    if (kind == "text") {
      return tokenizer.Encode(prompt.at("text").get<std::string>(), {.parse_special = true});
    }
    if (kind == "chat") {
      const auto messages = nlohmann::ordered_json::parse(prompt.at("messages").dump());
      const auto runs = RenderChat(MakeChatTemplate(model()), model(), messages);
      return EncodeRuns(tokenizer, runs, true);
    }
    const auto ids = tokenizer.Encode(FileText(prompt.at("file")), {.add_special = false});
    const std::vector<std::int64_t> range = prompt.at("range");
    std::vector<TokenId> part = tokenizer.Encode("");  // BOS where there is one
    part.insert(part.end(), ids.begin() + range.at(0), ids.begin() + range.at(1));
    return part;
  }

  void CheckPrompt(const Json& prompt) {
    GoldenPromptResult result;
    result.name = prompt.at("name");
    const std::vector<TokenId> ids = prompt.at("ids");
    result.tokens = static_cast<std::int64_t>(ids.size());
    Step(result.name);
    if (Encode(prompt) != ids) Violate(result, "the prompt tokenises to other ids");
    for (std::int64_t chunk : check_.chunks) {
      CheckPrefill(prompt, ids, std::min(chunk, decoder_.options().chunk), result);
    }
    CheckGreedy(prompt.at("greedy"), result);
    report_.prompts.push_back(std::move(result));
  }

  // Leaves the decoder at the end of the prompt and logits_ those of its last position.
  void CheckPrefill(const Json& prompt, std::span<const TokenId> ids, std::int64_t chunk,
                    GoldenPromptResult& result) {
    decoder_.Rewind(0);
    const std::int64_t count = static_cast<std::int64_t>(ids.size());
    const Json& positions = prompt.at("positions");
    for (std::int64_t start = 0; start < count; start += chunk) {
      const std::int64_t size = std::min(chunk, count - start);
      decoder_.Evaluate(ids.subspan(start, size), start + size < count);
      for (const Json& position : positions) {
        const std::int64_t row = position.at("pos").get<std::int64_t>() - start;
        if (row < 0 || row >= size) continue;
        const double error = std::abs(LogitsOf(row)[position.at("argmax").get<TokenId>()] -
                                      position.at("logit").get<double>());
        result.logit_max = std::max(result.logit_max, error);
        if (!(error <= tolerance().logit_max)) {
          Violate(result, fmt::format("chunks of {}: logit at position {} is off by {:.4g}", chunk,
                                      position.at("pos").get<std::int64_t>(), error));
        }
      }
      if (start + size == count) LogitsOf(size - 1);
    }
    CheckLast(prompt.at("last"), chunk, result);
  }

  void CheckLast(const Json& last, std::int64_t chunk, GoldenPromptResult& result) {
    const std::vector<TokenId> samples = golden_.at("sample_ids");
    const std::vector<double> sample_logits = last.at("sample_logits");
    const std::vector<TokenId> top_ids = last.at("top_ids");
    const std::vector<double> top_logits = last.at("top_logits");
    double largest = 0, squares = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const double error = std::abs(logits_[samples[i]] - sample_logits[i]);
      largest = std::max(largest, error);
      squares += error * error;
    }
    for (std::size_t i = 0; i < top_ids.size(); ++i) {
      largest = std::max(largest, std::abs(logits_[top_ids[i]] - top_logits[i]));
    }
    const double rms = std::sqrt(squares / static_cast<double>(samples.size()));
    result.logit_max = std::max(result.logit_max, largest);
    result.logit_rms = std::max(result.logit_rms, rms);
    if (!(largest <= tolerance().logit_max)) {
      Violate(result, fmt::format("chunks of {}: a logit is off by {:.4g}", chunk, largest));
    }
    if (!(rms <= tolerance().logit_rms)) {
      Violate(result, fmt::format("chunks of {}: logits are off by {:.4g} rms", chunk, rms));
    }
    CheckTop(top_ids, top_logits, result);
  }

  void CheckTop(const std::vector<TokenId>& ids, const std::vector<double>& logits,
                GoldenPromptResult& result) {
    const bool by_count = tolerance().top_golden > 0;
    const std::size_t ours = by_count ? tolerance().top_engine : ids.size();
    const auto top = TopTokens({logits_.data(), static_cast<std::size_t>(logits_.size())},
                               static_cast<int>(ours));
    const auto found = [&](TokenId id) {
      return std::any_of(top.begin(), top.end(), [&](const auto& token) { return token.id == id; });
    };
    if (by_count) {
      const auto hits = std::count_if(ids.begin(), ids.begin() + tolerance().top_golden, found);
      if (hits < tolerance().top_least) {
        Violate(result, fmt::format("only {} of the best {} tokens are among the best {}", hits,
                                    tolerance().top_golden, ours));
      }
      return;
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (logits[i] - logits.back() > tolerance().top_gap && !found(ids[i])) {
        Violate(result, fmt::format("token {} is missing among the best {}", ids[i], ours));
      }
    }
  }

  // Teacher-forced along the golden tokens: up to the first mismatch this is free generation.
  void CheckGreedy(const Json& greedy, GoldenPromptResult& result) {
    const std::vector<TokenId> ids = greedy.at("ids");
    const std::vector<double> margins = greedy.at("margins");
    const std::vector<double> logprobs = greedy.at("logprobs");
    for (std::size_t step = 0; step < ids.size(); ++step) {
      const std::span<const float> logits(logits_.data(), logits_.size());
      const double error = std::abs(logits[ids[step]] - LogSumExp(logits) - logprobs[step]);
      result.logprob_max = std::max(result.logprob_max, error);
      result.logprob_sum += error;
      ++result.steps;
      if (ArgMax(logits) == ids[step]) {
        ++result.agreed;
      } else {
        const bool first = result.first_mismatch < 0;
        if (first) {
          result.first_mismatch = static_cast<std::int64_t>(step);
          result.mismatch_margin = margins[step];
        }
        // Exact arithmetic must agree at every step with a margin, rounding only at the first.
        if ((first || tolerance().agreement == 0) && margins[step] >= tolerance().margin) {
          Violate(result, fmt::format("greedy step {} differs although its margin is {:.4g}", step,
                                      margins[step]));
        }
      }
      if (step + 1 < ids.size()) {
        decoder_.Evaluate({&ids[step], 1});
        LogitsOf(0);
      }
    }
    if (!(result.logprob_max <= tolerance().logprob_max)) {
      Violate(result,
              fmt::format("a greedy token's log-probability is off by {:.4g}", result.logprob_max));
    }
  }

  void CheckAverages() {
    double rms = 0, logprob = 0;
    std::int64_t steps = 0, agreed = 0;
    for (const GoldenPromptResult& prompt : report_.prompts) {
      rms += prompt.logit_rms / static_cast<double>(report_.prompts.size());
      logprob += prompt.logprob_sum;
      steps += prompt.steps;
      agreed += prompt.agreed;
    }
    if (steps == 0) return;
    const auto demand = [&](bool holds, const std::string& problem) {
      if (!holds) report_.violations.push_back("all prompts: " + problem);
    };
    demand(rms <= tolerance().logit_rms_mean, fmt::format("logits are off by {:.4g} rms", rms));
    demand(logprob / steps <= tolerance().logprob_mean,
           fmt::format("log-probabilities are off by {:.4g} on average", logprob / steps));
    demand(agreed >= tolerance().agreement * steps,
           fmt::format("only {} of {} greedy choices agree", agreed, steps));
  }

  // Windows of a stored token sequence, each evaluated alone.
  void CheckNll(const Json& nll) {
    const std::vector<TokenId> ids = nll.at("ids");
    if (nll.contains("strided")) {
      for (const Json& row : nll.at("strided")) CheckStrided(ids, row);
    }
    if (nll.contains("contexts")) {
      for (const Json& row : nll.at("contexts")) CheckWindows(ids, row);
    }
  }

  std::vector<double> WindowNll(std::span<const TokenId> window) {
    Step(fmt::format("likelihood of {} tokens", window.size()));
    return ScoreTokens(decoder_, window).nll;
  }

  void AddNll(const std::string& name, double expected, double sum, std::int64_t count) {
    const double measured = sum / static_cast<double>(count);
    const bool violated = !(std::abs(measured - expected) <= tolerance().mean_nll);
    report_.nll.push_back({name, expected, measured, violated});
    if (violated) {
      report_.violations.push_back(
          fmt::format("mean NLL {}: {:.5f}, expected {:.5f}", name, measured, expected));
    }
  }

  // The likelihoods of one golden row, over all targets and over those in the second half of
  // windows.
  struct NllSum {
    double all = 0, half = 0;
    std::int64_t count = 0, half_count = 0;
  };

  void AddRow(const std::string& name, const Json& row, const NllSum& sum) {
    AddNll(name, row.at("mean_nll"), sum.all, sum.count);
    if (row.contains("second_half_mean_nll")) {
      AddNll(name + " second half", row.at("second_half_mean_nll"), sum.half, sum.half_count);
    }
  }

  // Overlapping windows: a target counts once, in the first window that holds it.
  void CheckStrided(const std::vector<TokenId>& ids, const Json& row) {
    const std::int64_t context = row.at("ctx");
    NllSum sum;
    for (std::int64_t start : row.at("windows").get<std::vector<std::int64_t>>()) {
      const std::int64_t end = std::min<std::int64_t>(start + context, ids.size());
      const std::vector<double> values = WindowNll(std::span(ids).subspan(start, end - start));
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
        if (start + i + 1 > sum.count) {
          sum.all += values[i];
          ++sum.count;
        }
        if (start % context == 0 && i + 1 > context / 2) {
          sum.half += values[i];
          ++sum.half_count;
        }
      }
    }
    AddRow(fmt::format("{}/{}", context, row.at("stride").get<std::int64_t>()), row, sum);
  }

  // Windows side by side, each BOS and context - 1 tokens of text, all of which are targets.
  void CheckWindows(const std::vector<TokenId>& ids, const Json& row) {
    const std::int64_t context = row.at("ctx");
    const std::vector<TokenId> bos = model().tokenizer->Encode("");
    const std::int64_t stride = context - static_cast<std::int64_t>(bos.size());
    NllSum sum;
    for (std::int64_t w = 0; w < row.at("windows").get<std::int64_t>(); ++w) {
      std::vector<TokenId> window = bos;
      window.insert(window.end(), ids.begin() + w * stride, ids.begin() + (w + 1) * stride);
      const std::vector<double> values = WindowNll(window);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
        sum.all += values[i];
        ++sum.count;
        if (i + 1 > context / 2) {
          sum.half += values[i];
          ++sum.half_count;
        }
      }
    }
    AddRow(std::to_string(context), row, sum);
  }

  const Json& golden_;
  const std::string folder_;
  const GoldenOptions& check_;
  Decoder decoder_;
  Buffer<float> logits_;
  GoldenReport report_;
};

// The context that the longest prompt, continuation or window needs.
std::int64_t NeededContext(const Json& golden) {
  std::int64_t most = 1;
  for (const Json& prompt : golden.at("prompts")) {
    most = std::max<std::int64_t>(most,
                                  prompt.at("ids").size() + prompt.at("greedy").at("ids").size());
  }
  for (const char* rows : {"strided", "contexts"}) {
    for (const Json& row : golden.value("nll", Json::object()).value(rows, Json::array())) {
      most = std::max(most, row.at("ctx").get<std::int64_t>());
    }
  }
  return most;
}

}  // namespace

nlohmann::json ReadGolden(const std::string& path) {
  const MappedFile file = MappedFile::Open(path);
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  Json golden = Json::parse(text, text + file.bytes().size(), nullptr, false);
  if (golden.is_discarded() || !golden.is_object()) {
    Throw(ErrorCode::kCorruptFile, "{}: not a JSON object", path);
  }
  for (const char* key : {"model", "sample_ids", "prompts"}) {
    if (!golden.contains(key)) Throw(ErrorCode::kCorruptFile, "{}: '{}' is missing", path, key);
  }
  return golden;
}

GoldenReport CheckGolden(Context& context, const std::shared_ptr<const LanguageModel>& model,
                         DecoderOptions options, const Json& golden, const std::string& folder,
                         const GoldenOptions& check) {
  if (model->tokenizer == nullptr) {
    Throw(ErrorCode::kUnsupported, "{}: the file has no vocabulary", model->file.path());
  }
  try {
    options.context = NeededContext(golden);
    options.chunk = *std::max_element(check.chunks.begin(), check.chunks.end());
    return GoldenChecker(context, model, options, golden, folder, check).Run();
  } catch (const Json::exception& error) {
    Throw(ErrorCode::kCorruptFile, "the golden file has another form than expected: {}",
          error.what());
  }
}

}  // namespace foveate
