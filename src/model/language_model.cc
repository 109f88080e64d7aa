#include "model/language_model.h"

#include <exception>
#include <thread>

#include "base/throw.h"

namespace foveate {
namespace {

bool HasVocabulary(const GgufFile& file) {
  const auto model = file.Get<std::string_view>("tokenizer.ggml.model");
  return model && *model != "none" && *model != "no_vocab";
}

}  // namespace

std::shared_ptr<const LanguageModel> LoadLanguageModel(Context& context, const std::string& path,
                                                       const LoadProgress& progress,
                                                       std::string_view pre_override) {
  GgufFile file = GgufFile::Open(path);
  ModelConfig config = ReadModelConfig(file);
  auto model = std::make_shared<LanguageModel>(
      LanguageModel{std::move(file), std::move(config), nullptr, {}, {}});

  // A vocabulary of 262,144 pieces takes as long to index as the weights take to pack.
  std::exception_ptr tokenizer_error;
  std::thread tokenizer_loader([&] {
    try {
      if (HasVocabulary(model->file)) {
        model->tokenizer = Tokenizer::FromGguf(model->file, pre_override);
      }
    } catch (...) {
      tokenizer_error = std::current_exception();
    }
  });
  std::exception_ptr weights_error;
  try {
    model->weights = LoadWeights(context, model->file, model->config, progress);
  } catch (...) {
    weights_error = std::current_exception();
  }
  tokenizer_loader.join();
  if (tokenizer_error) std::rethrow_exception(tokenizer_error);
  if (weights_error) std::rethrow_exception(weights_error);

  if (model->vocabulary() > model->config.vocabulary) {
    Throw(ErrorCode::kCorruptFile, "{}: {} tokens but an embedding of {} rows", path,
          model->vocabulary(), model->config.vocabulary);
  }
  model->chat_template =
      std::string(model->file.Get<std::string_view>("tokenizer.chat_template").value_or(""));
  return model;
}

}  // namespace foveate
