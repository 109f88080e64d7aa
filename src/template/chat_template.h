// Chat templates: the Jinja subset that templates in model files use, evaluated safely (no access
// to anything but the data passed in; limits on size, steps, nesting and output).
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace foveate {

// A stretch of rendered text and whether the template wrote it or it came from the data. Markers in
// data (somebody typing "<|im_end|>") must not become control tokens: encode such runs with
// parse_special = false.
struct RenderedRun {
  std::string text;
  bool from_template = true;
};

class ChatTemplate {
 public:
  // Parses `source`; throws Error(kBadRequest) naming the line.
  explicit ChatTemplate(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // Renders with the variables of `context` (an object: messages, add_generation_prompt, tools,
  // bos_token, eos_token, ...). Throws Error: kBadRequest for template errors (with line) and
  // raise_exception (with its message), kLimit for exceeded limits.
  //
  // Every string in `context` is data, with two exceptions that count as the template's: the
  // variables bos_token, eos_token, pad_token and unk_token, which must therefore come from the
  // model file, and the well-known roles of messages ("user", "assistant", ...).
  std::vector<RenderedRun> Render(const nlohmann::ordered_json& context) const;
  // The same at a given local time (for the templates' strftime_now) instead of the current one.
  std::vector<RenderedRun> Render(const nlohmann::ordered_json& context, const std::tm& now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// All runs joined.
std::string JoinRuns(const std::vector<RenderedRun>& runs);

// Throws Error(kBadRequest) naming the place (`messages[3].content`) unless `messages` is a list of
// objects with a string role and a content that is a string, null or a list of parts.
void CheckMessages(const nlohmann::ordered_json& messages);

}  // namespace foveate
