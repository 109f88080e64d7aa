// Splits text into the pieces that byte-level BPE merges within: words with their space, digits,
// runs of punctuation, white space. Which rule applies is named by `tokenizer.ggml.pre`.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

namespace foveate {

class Pretokenizer {
 public:
  // Throws Error(kUnsupported), listing the known names, for any other.
  explicit Pretokenizer(std::string_view name);
  ~Pretokenizer();
  Pretokenizer(Pretokenizer&&) noexcept;

  // A piece that is a token as a whole is taken without merging.
  bool ignores_merges() const;
  // What the absence of `tokenizer.ggml.add_bos_token` means.
  bool adds_bos_by_default() const;

  // Hands out the pieces of one text in order; together they are the text.
  class Reader {
   public:
    // `text` must be valid UTF-8. Both arguments must outlive the reader.
    Reader(const Pretokenizer& pretokenizer, std::string_view text);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // False at the end. Throws Error(kLimit) if the matcher gives up.
    bool Next(std::string_view& piece);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace foveate
