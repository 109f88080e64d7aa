#include "runtime/chat.h"

#include "base/throw.h"
#include "runtime/chat_prompt.h"

namespace foveate {
namespace {

// What follows the first `size` bytes of the runs.
std::vector<RenderedRun> RunsAfter(const std::vector<RenderedRun>& runs, std::size_t size) {
  std::vector<RenderedRun> rest;
  for (const RenderedRun& run : runs) {
    if (size >= run.text.size()) {
      size -= run.text.size();
      continue;
    }
    rest.push_back({run.text.substr(size), run.from_template});
    size = 0;
  }
  return rest;
}

}  // namespace

ChatSession::ChatSession(Session& session)
    : session_(session), template_(MakeChatTemplate(session.model())) {}

void ChatSession::SetSystem(const std::string& text) {
  messages_ = nlohmann::ordered_json::array();
  if (!text.empty()) messages_.push_back({{"role", "system"}, {"content", text}});
  transcript_.clear();
  transcript_ids_.clear();
}

void ChatSession::Clear() {
  const bool has_system = !messages_.empty() && messages_[0]["role"] == "system";
  SetSystem(has_system ? messages_[0]["content"].get<std::string>() : std::string());
}

std::vector<TokenId> ChatSession::PromptIds(const std::vector<RenderedRun>& runs,
                                            const std::string& text) const {
  const Tokenizer& tokenizer = *session_.model().tokenizer;
  if (transcript_.empty() || text.compare(0, transcript_.size(), transcript_) != 0) {
    return EncodeRuns(tokenizer, runs, true);
  }
  std::vector<TokenId> ids = transcript_ids_;
  const auto more = EncodeRuns(tokenizer, RunsAfter(runs, transcript_.size()), false);
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

GenerateResult ChatSession::Send(const std::string& message, const GenerateOptions& options,
                                 const GenerateHooks& hooks) {
  nlohmann::ordered_json messages = messages_;
  messages.push_back({{"role", "user"}, {"content", message}});
  const auto runs = RenderChat(template_, session_.model(), messages);
  const std::string text = JoinRuns(runs);
  std::vector<TokenId> ids = PromptIds(runs, text);
  GenerateResult result = Generate(session_, ids, options, hooks);
  if (result.finish_reason == FinishReason::kCancelled && result.text.empty()) return result;

  messages.push_back({{"role", "assistant"}, {"content", result.text}});
  messages_ = std::move(messages);
  if (result.cut) {  // the next turn encodes the shorter text anew
    transcript_.clear();
    return result;
  }
  transcript_ = text + result.text;
  ids.insert(ids.end(), result.ids.begin(), result.ids.end());
  transcript_ids_ = std::move(ids);
  return result;
}

}  // namespace foveate
