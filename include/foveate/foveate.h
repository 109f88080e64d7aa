// Foveate's front door: load a language model, chat with it, stream the answer.
//
//   foveate::Model model = foveate::Model::Load("smollm2");
//   foveate::Chat chat(model);
//   chat.Send("Hello!", [](std::string_view text) { std::cout << text << std::flush; return true;
//   });
//
// Everything that can go wrong throws foveate::Error (see error.h). A Model may be shared by any
// number of conversations on one thread; for conversations on several threads load one Model each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "foveate/error.h"
#include "foveate/sampling.h"

namespace foveate {

struct ModelOptions {
  int threads = 0;  // 0: one per physical core that this process may use
  std::string isa;  // instruction set: "avx2", "portable", ...; empty: the best there is
};

struct ConversationOptions {
  std::int64_t context = 0;      // tokens; 0: what the model was trained for
  std::string key_type = "f16";  // of the KV cache: "f32", "f16", "bf16", "q8_0" or "q4_0"
  std::string value_type = "f16";
  std::string attention;  // a mechanism, also by layer, instead of the model's own; empty: its own
  bool exact = false;     // f32 activations instead of 8-bit ones: slower, exact
};

struct AnswerOptions {
  std::int64_t max_tokens = -1;   // -1: until the context is full
  std::vector<std::string> stop;  // text that ends the answer
  SamplingOptions sampling;
};

struct Answer {
  std::string text;
  std::string finish_reason;  // "stop", "length" or "cancelled"
  std::uint64_t seed = 0;     // the same seed and options give the same answer again
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

// Receives text as it becomes certain, always whole characters; returning false stops the answer.
using TextCallback = std::function<bool(std::string_view text)>;

class Model {
 public:
  // `model` is a GGUF file, a known name ("smollm2", fetched if need be) or hf:org/repo/file.gguf.
  static Model Load(const std::string& model, const ModelOptions& options = {});

  std::string name() const;
  std::int64_t context_length() const;  // tokens the model was trained for
  bool can_chat() const;                // whether it has a chat template

  struct Impl;

 private:
  friend class Chat;
  friend class Completer;
  std::shared_ptr<Impl> impl_;
};

// A conversation. Each message evaluates only what is new since the last.
class Chat {
 public:
  // Throws Error(kBadRequest) for a model without a chat template.
  explicit Chat(const Model& model, const ConversationOptions& options = {});
  ~Chat();
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;

  // Sets the system message and starts over.
  void SetSystem(const std::string& text);
  Answer Send(const std::string& message, const TextCallback& on_text = {},
              const AnswerOptions& options = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Continues raw text, without a chat template: what base models do.
class Completer {
 public:
  explicit Completer(const Model& model, const ConversationOptions& options = {});
  ~Completer();
  Completer(Completer&&) noexcept;
  Completer& operator=(Completer&&) noexcept;

  Answer Complete(const std::string& text, const TextCallback& on_text = {},
                  const AnswerOptions& options = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace foveate
