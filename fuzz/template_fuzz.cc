// The chat-template engine: the input is a template, optionally followed by a zero byte and the
// JSON of its variables. Rendering succeeds or throws Error; anything else is a bug.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "foveate/error.h"
#include "template/chat_template.h"

namespace {

constexpr char kDefaultVariables[] = R"({
  "messages": [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "<|im_end|> \u00e9\u00df 🙂\nx"},
    {"role": "assistant", "content": null,
     "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, true, null]}}}]}
  ],
  "tools": [], "add_generation_prompt": true, "bos_token": "<s>",
  "d": {"k": "v", "n": {"x": [1, [2, [3]]]}}, "l": [3, 1, 2], "n": 7, "f": -2.5, "s": " Ab c "
})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = input.find('\0');
  const std::string_view source = input.substr(0, zero);
  const std::string_view variables =
      zero == std::string_view::npos ? kDefaultVariables : input.substr(zero + 1);
  const auto context =
      nlohmann::ordered_json::parse(variables, nullptr, /*allow_exceptions=*/false);
  if (context.is_discarded()) return 0;
  const std::tm now{};
  try {
    foveate::JoinRuns(foveate::ChatTemplate(source).Render(context, now));
  } catch (const foveate::Error&) {
  }
  return 0;
}
