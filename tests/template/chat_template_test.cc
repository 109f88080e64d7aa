// Chat templates against Jinja2's outputs, errors and the shape of messages.
#include "template/chat_template.h"

#include <gtest/gtest.h>

#include <string>

#include "foveate/error.h"
#include "tests/template/chat_template_fixtures.h"

namespace foveate {
namespace {

using nlohmann::ordered_json;

TEST(ChatTemplateGolden, SmolLm2) {
  const std::string source = ReadText("smollm2_chat_template.jinja");
  const ordered_json golden = ReadJson("chat_template.json");
  ASSERT_EQ(golden["smollm2"].size(), 26u);
  for (const ordered_json& entry : golden["smollm2"]) {
    const ordered_json context = {{"messages", entry["messages"]},
                                  {"add_generation_prompt", entry["add_generation_prompt"]},
                                  {"bos_token", "<|im_start|>"},
                                  {"eos_token", "<|im_end|>"}};
    EXPECT_EQ(RenderText(source, context), entry["output"].get<std::string>())
        << entry["conversation"];
  }
}

ordered_json OwnContext(const ordered_json& golden, const ordered_json& entry) {
  ordered_json context = {{"messages", golden["inputs"][entry["input"].get<std::string>()]},
                          {"add_generation_prompt", entry["add_generation_prompt"]},
                          {"bos_token", golden["bos_token"]},
                          {"eos_token", golden["eos_token"]}};
  if (entry["input"] == "tools") context["tools"] = golden["tools"];
  return context;
}

TEST(ChatTemplateGolden, OwnTemplates) {
  const ordered_json golden = ReadJson("chat_template.json");
  ASSERT_EQ(golden["own_expected"].size(), 82u);
  for (const ordered_json& entry : golden["own_expected"]) {
    const std::string name = entry["template"];
    SCOPED_TRACE(name + " on " + entry["input"].get<std::string>());
    const std::string source = golden["own_templates"][name];
    const ordered_json context = OwnContext(golden, entry);
    if (entry.contains("output")) {
      EXPECT_EQ(RenderText(source, context), entry["output"].get<std::string>());
    } else if (entry.contains("error")) {
      EXPECT_EQ(RenderError(source, context), "bad_request: " + entry["error"].get<std::string>());
    } else {
      const std::string code = entry["error_class"] == "limit" ? "limit: " : "bad_request: ";
      EXPECT_EQ(RenderError(source, context).substr(0, code.size()), code);
    }
  }
}

TEST(ChatTemplateGolden, Cases) {
  const ordered_json golden = ReadJson("chat_template_cases.json");
  ASSERT_GT(golden["cases"].size(), 900u);
  for (const ordered_json& entry : golden["cases"]) {
    const std::string source = entry["template"];
    SCOPED_TRACE(source);
    if (entry.contains("output")) {
      std::string text;
      ASSERT_NO_THROW(text = RenderText(source, golden["context"]));
      EXPECT_EQ(text, entry["output"].get<std::string>());
    } else {
      const std::string error = RenderError(source, golden["context"]);
      if (entry["error"].is_string()) {
        EXPECT_EQ(error, "bad_request: " + entry["error"].get<std::string>());
      }
    }
  }
}

TEST(ChatTemplate, CanBeRenderedAgain) {
  const ChatTemplate greeting("{% set x = n + 1 %}{{ x }}{% set n = 9 %}");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(JoinRuns(greeting.Render({{"n", 1}})), "2");
  }
}

TEST(ChatTemplate, KeepsTheOrderOfKeys) {
  EXPECT_EQ(RenderText("{{ d|tojson }}", {{"d", {{"z", 1}, {"a", 2}, {"m", nullptr}}}}),
            R"({"z": 1, "a": 2, "m": null})");
}

TEST(ChatTemplate, RepairsInvalidUtf8) {
  EXPECT_EQ(RenderText("{{ s }}|{{ s|length }}\xff", {{"s", "a\xf0\x9f\x99z\xc0"}}),
            "a\uFFFDz\uFFFD|4\uFFFD");
}

TEST(ChatTemplate, NumbersOfTheData) {
  const ordered_json context = {
      {"n", {0, -7, 9223372036854775807, 18446744073709551615u, 2.0, 0.1, 1e-7}}};
  EXPECT_EQ(RenderText("{{ n|tojson }}", context),
            "[0, -7, 9223372036854775807, 1.8446744073709552e+19, 2.0, 0.1, 1e-07]");
}

TEST(ChatTemplate, TellsTheGivenTime) {
  EXPECT_EQ(RenderText("{{ strftime_now('%d %b %Y %H:%M %A %q %-d%') }}"),
            "31 Jan 2025 09:05 Friday %q 31%");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  EXPECT_EQ(RenderError("a\nb\n{{ x.y }}"), "bad_request: chat template line 3: 'x' is undefined");
  EXPECT_EQ(RenderError("\n{% if true %}\n\n{{ 1 + }}{% endif %}"),
            "bad_request: chat template line 4: found the end of the tag, expected a value");
  EXPECT_EQ(RenderError("\n\n{% for x in y %}\n"),
            "bad_request: chat template line 3: a block without 'endfor'");
  EXPECT_EQ(RenderError("\n{{ 'a\nb' }}\n{{ 1 / 0 }}"),
            "bad_request: chat template line 4: division by zero");
  EXPECT_EQ(RenderError("{% macro f() %}\n{{ 1 + 'a' }}{% endmacro %}\n\n{{ f() }}"),
            "bad_request: chat template line 2: '+' does not work on int and str");
  EXPECT_EQ(RenderError("\n{{ 'a'|nosuch }}"),
            "bad_request: chat template line 2: there is no filter 'nosuch'");
  EXPECT_EQ(RenderError("\n{% include 'x' %}"),
            "bad_request: chat template line 2: the statement 'include' is not supported");
}

TEST(ChatTemplate, UnknownFiltersMatterOnlyWhereReached) {
  EXPECT_EQ(RenderText("{% if false %}{{ 1|nosuch }}{{ 1 is nosuch }}{% endif %}ok"), "ok");
}

TEST(ChatTemplate, RaisesTheTemplatesMessage) {
  EXPECT_EQ(RenderError("{{ raise_exception('no ' ~ what) }}", {{"what", "tools"}}),
            "bad_request: no tools");
}

TEST(ChatTemplate, LoopConditionsSeeWhatTheBodyChanges) {
  EXPECT_EQ(RenderText("{% set ns = namespace(stop=false) %}{% for i in [1, 2, 3] if not ns.stop %}"
                       "{{ i }}{% set ns.stop = i == 2 %}{% endfor %}"),
            "12");
  EXPECT_EQ(RenderText("{% for i in [1, 2, 3] if i != 2 %}{{ i }}{{ loop.length }}{% endfor %}"),
            "1232");
}

TEST(ChatTemplate, LoopsRunOverACopy) {
  EXPECT_EQ(RenderText("{% set l = [1, 2] %}{% for i in l %}{{ l.append(i) or i }}{% endfor %}"
                       "{{ l }}"),
            "12[1, 2, 1, 2]");
}

TEST(ChatTemplate, WantsAnObject) {
  EXPECT_EQ(RenderError("x", ordered_json::array()),
            "bad_request: the variables of a chat template must be an object, got array");
}

std::string MessagesError(const char* json) {
  try {
    CheckMessages(ordered_json::parse(json));
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.what();
  }
  return "";
}

TEST(CheckMessages, AcceptsWhatTemplatesTake) {
  EXPECT_EQ(MessagesError("[]"), "");
  EXPECT_EQ(MessagesError(R"([{"role": "user", "content": "x"}, {"role": "a", "content": null},
      {"role": "user", "content": []},
      {"role": "user", "content": [{"type": "text", "text": "x"}]},
      {"role": "assistant", "tool_calls": []}])"),
            "");
}

TEST(CheckMessages, NamesThePlace) {
  EXPECT_EQ(MessagesError("{}"), "bad_request: messages must be a list, got object");
  EXPECT_EQ(MessagesError(R"(["x"])"), "bad_request: messages[0] must be an object, got string");
  EXPECT_EQ(MessagesError(R"([{"role": "user", "content": "x"}, {"content": "x"}])"),
            "bad_request: messages[1].role must be a string, but is missing");
  EXPECT_EQ(MessagesError(R"([{"role": 1, "content": "x"}])"),
            "bad_request: messages[0].role must be a string, got number");
  EXPECT_EQ(MessagesError(R"([{"role": "user", "content": 3}])"),
            "bad_request: messages[0].content must be a string, null or a list of parts, got "
            "number");
  EXPECT_EQ(MessagesError(R"([{"role": "user"}])"),
            "bad_request: messages[0].content must be a string, null or a list of parts, but is "
            "missing");
  EXPECT_EQ(MessagesError(R"([{"role": "user", "content": [{"type": "text"}, {"text": "x"}]}])"),
            "bad_request: messages[0].content[1] must be an object with a string 'type'");
  EXPECT_EQ(MessagesError(R"([{"role": "user", "content": ["x"]}])"),
            "bad_request: messages[0].content[0] must be an object with a string 'type'");
}

}  // namespace
}  // namespace foveate
