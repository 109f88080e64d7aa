// From chat messages to token ids, through the model's template.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "template/chat_template.h"

namespace foveate {

// Whether messages can be rendered: the file has a template, or its vocabulary is that of ChatML.
bool HasChatTemplate(const LanguageModel& model);

// The model's template; throws Error(kBadRequest) when there is none. Errors of templates name the
// file.
ChatTemplate MakeChatTemplate(const LanguageModel& model);

// Renders `messages` (see CheckMessages) with `chat_template`, ready for the model's answer.
std::vector<RenderedRun> RenderChat(const ChatTemplate& chat_template, const LanguageModel& model,
                                    const nlohmann::ordered_json& messages);

// The ids of rendered text. Markers become control tokens only where the template wrote them. With
// `begins` (the text starts a sequence) exactly one BOS stands in front where the vocabulary wants
// one, whether or not the template writes it too.
std::vector<TokenId> EncodeRuns(const Tokenizer& tokenizer, std::span<const RenderedRun> runs,
                                bool begins);

}  // namespace foveate
