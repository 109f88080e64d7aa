#include "template/chat_template.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "base/throw.h"
#include "template/evaluator.h"
#include "template/fault.h"
#include "template/json.h"
#include "template/parser.h"

namespace foveate {
namespace {

using jinja::Origin;
using jinja::Value;
using nlohmann::ordered_json;

constexpr std::size_t kMaxSourceBytes = 64 << 10;

// Variables that come from the model file, as the template does.
bool IsModelVariable(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kNames = {"bos_token", "eos_token", "pad_token",
                                                             "unk_token"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool IsKnownRole(std::string_view role) {
  static constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                             "assistant", "tool",      "function"};
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

// Some templates build markers from roles ("<|" + role + "|>"), so the well-known roles count as
// the template's words. All other roles are data.
void TrustKnownRoles(jinja::Runtime& runtime, const Value& messages) {
  jinja::List* const* list = std::get_if<jinja::List*>(&messages);
  if (list == nullptr) return;
  for (const Value& message : (*list)->items) {
    jinja::Dict* const* dict = std::get_if<jinja::Dict*>(&message);
    Value* role = dict == nullptr ? nullptr : jinja::Find(runtime, **dict, "role");
    const jinja::Text* text = role == nullptr ? nullptr : jinja::AsText(*role);
    if (text == nullptr || !IsKnownRole(text->bytes())) continue;
    *role = runtime.NewText(text->bytes(), Origin::kTemplate);
  }
}

Value VariableFromJson(jinja::Runtime& runtime, const std::string& name, const ordered_json& json) {
  Value value = FromJson(runtime, json, IsModelVariable(name) ? Origin::kTemplate : Origin::kData);
  if (name == "messages") TrustKnownRoles(runtime, value);
  return value;
}

// Only what the template mentions is converted.
std::shared_ptr<jinja::Scope> MakeGlobals(const jinja::Template& tree, jinja::Runtime& runtime,
                                          const ordered_json& context) {
  auto globals = std::make_shared<jinja::Scope>(nullptr);
  for (std::size_t i = 0; i < tree.names.size(); ++i) {
    const std::string& name = tree.names[i];
    const auto variable = context.find(name);
    const jinja::Function* function = jinja::FindFunction(name);
    const auto id = static_cast<jinja::NameId>(i);
    if (variable != context.end()) {
      globals->Set(id, VariableFromJson(runtime, name, *variable));
    } else if (function != nullptr) {
      globals->Set(id, function);
    }
  }
  return globals;
}

std::vector<RenderedRun> ToRuns(const jinja::Text& text) {
  std::vector<RenderedRun> runs;
  std::int64_t begin = 0;
  for (const jinja::Text::Run& run : text.runs()) {
    runs.push_back({text.bytes().substr(begin, run.end - begin), run.origin == Origin::kTemplate});
    begin = run.end;
  }
  return runs;
}

void CheckPart(const ordered_json& part, std::size_t message, std::size_t index) {
  const auto type = part.is_object() ? part.find("type") : part.end();
  if (!part.is_object() || type == part.end() || !type->is_string()) {
    Throw(ErrorCode::kBadRequest, "messages[{}].content[{}] must be an object with a string 'type'",
          message, index);
  }
}

void CheckContent(const ordered_json& message, std::size_t index) {
  const auto content = message.find("content");
  // Assistants that only call tools need not say anything.
  if (content == message.end() && message.contains("tool_calls")) return;
  const bool fits = content != message.end() &&
                    (content->is_string() || content->is_null() || content->is_array());
  if (!fits) {
    Throw(
        ErrorCode::kBadRequest,
        "messages[{}].content must be a string, null or a list of parts, {}", index,
        content == message.end() ? "but is missing" : fmt::format("got {}", content->type_name()));
  }
  if (!content->is_array()) return;
  for (std::size_t i = 0; i < content->size(); ++i) CheckPart((*content)[i], index, i);
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Template tree;
};

ChatTemplate::ChatTemplate(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    Throw(ErrorCode::kLimit, "a chat template may have {} bytes, this one has {}", kMaxSourceBytes,
          source.size());
  }
  impl_ = std::make_unique<Impl>(Impl{jinja::ParseTemplate(source)});
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::vector<RenderedRun> ChatTemplate::Render(const ordered_json& context) const {
  const std::time_t time = std::time(nullptr);
  std::tm now{};
  localtime_r(&time, &now);
  return Render(context, now);
}

std::vector<RenderedRun> ChatTemplate::Render(const ordered_json& context,
                                              const std::tm& now) const {
  if (!context.is_object()) {
    Throw(ErrorCode::kBadRequest, "the variables of a chat template must be an object, got {}",
          context.type_name());
  }
  jinja::Runtime runtime(now);
  int line = 0;  // until evaluation starts
  try {
    jinja::Evaluator evaluator(impl_->tree, runtime, MakeGlobals(impl_->tree, runtime, context),
                               line);
    return ToRuns(evaluator.Run());
  } catch (const jinja::Fault& fault) {
    if (line == 0) Throw(fault.code(), "variables of the chat template: {}", fault.what());
    Throw(fault.code(), "chat template line {}: {}", line, fault.what());
  }
}

std::string JoinRuns(const std::vector<RenderedRun>& runs) {
  std::string text;
  for (const RenderedRun& run : runs) text += run.text;
  return text;
}

void CheckMessages(const ordered_json& messages) {
  if (!messages.is_array()) {
    Throw(ErrorCode::kBadRequest, "messages must be a list, got {}", messages.type_name());
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const ordered_json& message = messages[i];
    if (!message.is_object()) {
      Throw(ErrorCode::kBadRequest, "messages[{}] must be an object, got {}", i,
            message.type_name());
    }
    const auto role = message.find("role");
    if (role == message.end() || !role->is_string()) {
      Throw(ErrorCode::kBadRequest, "messages[{}].role must be a string, {}", i,
            role == message.end() ? "but is missing" : fmt::format("got {}", role->type_name()));
    }
    CheckContent(message, i);
  }
}

}  // namespace foveate
