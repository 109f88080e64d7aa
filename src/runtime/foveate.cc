#include "foveate/foveate.h"

#include "runtime/chat.h"
#include "runtime/chat_prompt.h"
#include "runtime/generate.h"
#include "runtime/model_store.h"

namespace foveate {

struct Model::Impl {
  Impl(const std::string& path, const ContextOptions& options)
      : context(options), model(LoadLanguageModel(context, path)) {}

  Context context;
  std::shared_ptr<const LanguageModel> model;
};

namespace {

DecoderOptions MakeDecoderOptions(const ConversationOptions& options) {
  DecoderOptions decoder{.context = options.context,
                         .key_type = ParseKvType(options.key_type),
                         .value_type = ParseKvType(options.value_type),
                         .activations = options.exact ? ActivationMode::kF32 : ActivationMode::kQ8};
  if (!options.attention.empty()) decoder.attention = ParseAttentionSpec(options.attention);
  return decoder;
}

GenerateOptions MakeGenerateOptions(const AnswerOptions& options) {
  return {.max_tokens = options.max_tokens, .stop = options.stop, .sampling = options.sampling};
}

GenerateHooks MakeHooks(const TextCallback& on_text) { return {.on_text = on_text}; }

Answer MakeAnswer(GenerateResult result) {
  return {.text = std::move(result.text),
          .finish_reason = FinishReasonName(result.finish_reason),
          .seed = result.seed,
          .prompt_tokens = result.prompt_tokens,
          .completion_tokens = static_cast<std::int64_t>(result.ids.size()),
          .prefill_seconds = result.prefill_seconds,
          .decode_seconds = result.decode_seconds};
}

}  // namespace

Model Model::Load(const std::string& model, const ModelOptions& options) {
  const ModelStore store(ModelStoreOptions::FromEnvironment());
  Model loaded;
  loaded.impl_ = std::make_shared<Impl>(store.Resolve(model, {}),
                                        ContextOptionsOf(options.threads, options.isa));
  return loaded;
}

std::string Model::name() const { return impl_->model->config.name; }
std::int64_t Model::context_length() const { return impl_->model->config.context; }
bool Model::can_chat() const { return HasChatTemplate(*impl_->model); }

struct Chat::Impl {
  Impl(std::shared_ptr<Model::Impl> from, const ConversationOptions& options)
      : model(std::move(from)),
        session(model->context, model->model, MakeDecoderOptions(options)),
        chat(session) {}

  std::shared_ptr<Model::Impl> model;  // outlives the session
  Session session;
  ChatSession chat;
};

Chat::Chat(const Model& model, const ConversationOptions& options)
    : impl_(std::make_unique<Impl>(model.impl_, options)) {}
Chat::~Chat() = default;
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;

void Chat::SetSystem(const std::string& text) { impl_->chat.SetSystem(text); }

Answer Chat::Send(const std::string& message, const TextCallback& on_text,
                  const AnswerOptions& options) {
  return MakeAnswer(impl_->chat.Send(message, MakeGenerateOptions(options), MakeHooks(on_text)));
}

struct Completer::Impl {
  Impl(std::shared_ptr<Model::Impl> from, const ConversationOptions& options)
      : model(std::move(from)),
        session(model->context, model->model, MakeDecoderOptions(options)) {}

  std::shared_ptr<Model::Impl> model;
  Session session;
};

Completer::Completer(const Model& model, const ConversationOptions& options)
    : impl_(std::make_unique<Impl>(model.impl_, options)) {}
Completer::~Completer() = default;
Completer::Completer(Completer&&) noexcept = default;
Completer& Completer::operator=(Completer&&) noexcept = default;

Answer Completer::Complete(const std::string& text, const TextCallback& on_text,
                           const AnswerOptions& options) {
  const Tokenizer* tokenizer = impl_->session.model().tokenizer.get();
  if (tokenizer == nullptr) {
    throw Error(ErrorCode::kUnsupported,
                impl_->session.model().file.path() + ": the file has no vocabulary");
  }
  GenerateOptions generate = MakeGenerateOptions(options);
  generate.continues_text = true;
  return MakeAnswer(
      Generate(impl_->session, tokenizer->Encode(text), generate, MakeHooks(on_text)));
}

}  // namespace foveate
