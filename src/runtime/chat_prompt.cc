#include "runtime/chat_prompt.h"

#include "base/throw.h"

namespace foveate {
namespace {

// What models without a template of their own but with its marker tokens were trained on.
constexpr const char* kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

bool HasChatMlMarkers(const LanguageModel& model) {
  return model.tokenizer != nullptr && model.tokenizer->Find("<|im_start|>").has_value();
}

std::string SpecialText(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? tokenizer.TokenText(*id, true) : std::string();
}

template <typename Call>
auto NamingFile(const LanguageModel& model, Call call) {
  try {
    return call();
  } catch (const Error& error) {
    Throw(error.code(), "{}: {}", model.file.path(), error.what());
  }
}

}  // namespace

bool HasChatTemplate(const LanguageModel& model) {
  return model.tokenizer != nullptr && (!model.chat_template.empty() || HasChatMlMarkers(model));
}

ChatTemplate MakeChatTemplate(const LanguageModel& model) {
  if (!HasChatTemplate(model)) {
    Throw(ErrorCode::kBadRequest,
          "{}: no_chat_template: a base model without a chat template completes raw text (--raw)",
          model.file.path());
  }
  return NamingFile(model, [&] {
    return ChatTemplate(model.chat_template.empty() ? kChatMl : model.chat_template);
  });
}

std::vector<RenderedRun> RenderChat(const ChatTemplate& chat_template, const LanguageModel& model,
                                    const nlohmann::ordered_json& messages) {
  CheckMessages(messages);
  const Tokenizer& tokenizer = *model.tokenizer;
  return NamingFile(model, [&] {
    return chat_template.Render({{"messages", messages},
                                 {"add_generation_prompt", true},
                                 {"bos_token", SpecialText(tokenizer, tokenizer.bos())},
                                 {"eos_token", SpecialText(tokenizer, tokenizer.eos())}});
  });
}

std::vector<TokenId> EncodeRuns(const Tokenizer& tokenizer, std::span<const RenderedRun> runs,
                                bool begins) {
  std::vector<TextRun> parts;
  for (const RenderedRun& run : runs) parts.push_back({run.text, run.from_template});
  return tokenizer.Encode(parts, begins);
}

}  // namespace foveate
