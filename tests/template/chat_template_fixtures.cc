#include "tests/template/chat_template_fixtures.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "foveate/error.h"

namespace foveate {
namespace {

nlohmann::ordered_json ObjectOr(const nlohmann::ordered_json& context) {
  return context.is_null() ? nlohmann::ordered_json::object() : context;
}

}  // namespace

std::tm GoldenTime() {
  std::tm time{};
  time.tm_year = 2025 - 1900;
  time.tm_mday = 31;
  time.tm_hour = 9;
  time.tm_min = 5;
  time.tm_sec = 7;
  time.tm_wday = 5;
  time.tm_yday = 30;
  return time;
}

std::string ReadText(const std::string& name) {
  std::ifstream file(std::string(FOVEATE_TEST_DATA) + "/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

nlohmann::ordered_json ReadJson(const std::string& name) {
  return nlohmann::ordered_json::parse(ReadText(name));
}

std::string RenderText(std::string_view source, const nlohmann::ordered_json& context) {
  return JoinRuns(ChatTemplate(source).Render(ObjectOr(context), GoldenTime()));
}

std::string RenderMarked(std::string_view source, const nlohmann::ordered_json& context) {
  std::string marked;
  for (const RenderedRun& run : ChatTemplate(source).Render(ObjectOr(context), GoldenTime())) {
    marked += run.from_template ? run.text : "[" + run.text + "]";
  }
  return marked;
}

std::string RenderError(std::string_view source, const nlohmann::ordered_json& context) {
  try {
    const std::string text = RenderText(source, context);
    ADD_FAILURE() << "no error; rendered " << text.substr(0, 200);
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.what();
  }
  return "";
}

}  // namespace foveate
