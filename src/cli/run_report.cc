#include "cli/run_report.h"

#include <fmt/format.h>

namespace foveate::cli {
namespace {

double Rate(std::int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

// The first token comes out of the prefill; decoding made the others.
std::int64_t DecodedTokens(const GenerateResult& result) {
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(result.ids.size()) - 1);
}

}  // namespace

std::string RunReportLine(const GenerateResult& result, const Session& session) {
  return fmt::format(
      "[prefill {} tokens, {:.1f}/s | decode {} tokens, {:.1f}/s | first token {:.0f} ms | peak "
      "memory {} | KV cache {} | seed {} | {}]",
      result.evaluated_prompt_tokens, Rate(result.evaluated_prompt_tokens, result.prefill_seconds),
      result.ids.size(), Rate(DecodedTokens(result), result.decode_seconds),
      result.first_token_seconds * 1e3, HumanBytes(static_cast<double>(PeakResidentBytes())),
      HumanBytes(static_cast<double>(session.decoder().kv_bytes())), result.seed,
      FinishReasonName(result.finish_reason));
}

nlohmann::ordered_json RunReportJson(const GenerateResult& result, const Session& session,
                                     double load_seconds) {
  return {
      {"text", result.text},
      {"prompt_tokens", result.prompt_tokens},
      {"completion_tokens", result.ids.size()},
      {"finish_reason", FinishReasonName(result.finish_reason)},
      {"seed", result.seed},
      {"ids", result.ids},
      {"timings",
       {{"load_seconds", load_seconds},
        {"prefill_seconds", result.prefill_seconds},
        {"prefill_tokens_per_second", Rate(result.evaluated_prompt_tokens, result.prefill_seconds)},
        {"first_token_seconds", result.first_token_seconds},
        {"decode_seconds", result.decode_seconds},
        {"decode_tokens_per_second", Rate(DecodedTokens(result), result.decode_seconds)}}},
      {"bytes",
       {{"peak_resident", PeakResidentBytes()},
        {"kv_cache", session.decoder().kv_bytes()},
        {"weights", session.model().weights.bytes()},
        {"file", session.model().file.file_bytes()}}}};
}

std::function<void(std::int64_t, std::int64_t)> PrefillProgress(ProgressBar& bar) {
  return [&bar](std::int64_t done, std::int64_t total) {
    bar.Update(static_cast<double>(done) / static_cast<double>(total),
               fmt::format("{}/{} tokens", done, total));
    if (done == total) bar.Clear();
  };
}

}  // namespace foveate::cli
