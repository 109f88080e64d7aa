// A conversation: messages in, answers out. Each turn evaluates only what is new in it.
//
//   ChatSession chat(session);
//   chat.SetSystem("You are terse.");
//   chat.Send("What is the capital of France?", options, {.on_text = print});
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/generate.h"
#include "template/chat_template.h"

namespace foveate {

class ChatSession {
 public:
  // Throws Error(kBadRequest) for a model without a chat template.
  explicit ChatSession(Session& session);

  // Replaces the system message (empty: the template's default) and starts over.
  void SetSystem(const std::string& text);
  // Forgets everything but the system message.
  void Clear();

  // Adds a user message and generates the answer, which becomes part of the conversation. A failed
  // or refused request leaves the conversation as it was.
  GenerateResult Send(const std::string& message, const GenerateOptions& options,
                      const GenerateHooks& hooks = {});

  const nlohmann::ordered_json& messages() const { return messages_; }

 private:
  std::vector<TokenId> PromptIds(const std::vector<RenderedRun>& runs,
                                 const std::string& text) const;

  Session& session_;
  ChatTemplate template_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  // What the session's tokens say, as text: a prompt that continues it needs no new encoding.
  std::string transcript_;
  std::vector<TokenId> transcript_ids_;
};

}  // namespace foveate
