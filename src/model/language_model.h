// A language model in memory: configuration, packed weights, tokenizer, chat template. Immutable
// after loading; any number of decoders (sessions) may share one.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/context.h"
#include "format/gguf.h"
#include "model/config.h"
#include "model/weights.h"
#include "template/chat_template.h"
#include "text/tokenizer.h"

namespace foveate {

struct LanguageModel {
  GgufFile file;
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;  // null: the file carries no vocabulary
  std::string chat_template;             // source; empty: the file has none
  ModelWeights weights;

  // Tokens that may be generated: the embedding may be padded beyond the token list.
  std::int64_t vocabulary() const {
    return tokenizer == nullptr ? config.vocabulary : tokenizer->size();
  }
};

// Opens, checks and packs the model at `path` for the context's instruction set. `progress`
// reports the share of weights packed. `pre_override`: see Tokenizer::FromGguf.
std::shared_ptr<const LanguageModel> LoadLanguageModel(Context& context, const std::string& path,
                                                       const LoadProgress& progress = {},
                                                       std::string_view pre_override = {});

}  // namespace foveate
