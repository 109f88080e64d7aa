// Hostile templates and data end with an error: no crash, no endless loop, no exhausted memory.
#include <gtest/gtest.h>

#include <string>

#include "tests/template/chat_template_fixtures.h"

namespace foveate {
namespace {

using nlohmann::ordered_json;

std::string Repeat(const std::string& part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

void ExpectLimit(const std::string& source, const ordered_json& context = {}) {
  SCOPED_TRACE(source.substr(0, 300));
  EXPECT_EQ(RenderError(source, context).substr(0, 7), "limit: ");
}

TEST(TemplateLimits, SourceSize) {
  EXPECT_EQ(RenderText(std::string(64 << 10, 'x')).size(), 64u << 10);
  EXPECT_EQ(RenderError(std::string((64 << 10) + 1, 'x')),
            "limit: a chat template may have 65536 bytes, this one has 65537");
}

TEST(TemplateLimits, NestingOfTheSource) {
  const auto nested = [](const std::string& open, const std::string& core, const std::string& close,
                         int depth) {
    return "{{ " + Repeat(open, depth) + core + Repeat(close, depth) + " }}";
  };
  EXPECT_EQ(RenderText(nested("(", "1", ")", 50)), "1");
  EXPECT_EQ(RenderText(nested("[", "", "]", 50)), Repeat("[", 50) + Repeat("]", 50));
  for (const int depth : {70, 10000}) {
    ExpectLimit(nested("(", "1", ")", depth));
    ExpectLimit(nested("[", "1", "]", depth));
    ExpectLimit(nested("{1:", "1", "}", depth));
    ExpectLimit(nested("- ", "1", "", depth));
    ExpectLimit(nested("not ", "1", "", depth));
    ExpectLimit(nested("x[", "1", "]", depth));
    ExpectLimit(nested("x(", "1", ")", depth));
    ExpectLimit(nested("1|d(", "1", ")", depth));
    ExpectLimit(nested("1 if 1 else ", "1", "", depth));
    ExpectLimit(nested("", "1", " if 1", depth));
  }
  EXPECT_EQ(RenderText(Repeat("{% if 1 %}", 50) + "x" + Repeat("{% endif %}", 50)), "x");
  ExpectLimit(Repeat("{% if 1 %}", 3000));
  ExpectLimit(Repeat("{% for x in y %}", 3000));
  ExpectLimit(Repeat("{% macro m() %}", 3000));
  EXPECT_NE(RenderError("{% set " + Repeat("(", 10000) + "x" + Repeat(")", 10000) + " = 1 %}"), "");
}

TEST(TemplateLimits, LongChainsDoNotNest) {
  EXPECT_EQ(RenderText("{{ 0" + Repeat(" + 1", 10000) + " }}"), "10000");
  EXPECT_EQ(RenderText("{{ ''" + Repeat(" ~ 'a'", 5000) + " }}").size(), 5000u);
  EXPECT_EQ(RenderText("{{ 'A'" + Repeat("|lower", 5000) + " }}"), "a");
  EXPECT_EQ(RenderText("{{ true" + Repeat(" and true", 5000) + " }}"), "True");
  EXPECT_EQ(RenderText("{% if 0 %}" + Repeat("{% elif 0 %}", 5000) + "{% else %}x{% endif %}"),
            "x");
}

TEST(TemplateLimits, Calls) {
  ExpectLimit("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
  ExpectLimit(
      "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n) }}{% endmacro %}"
      "{{ f(1) }}");
  // As deep as a call can nest before the number of calls counts.
  ExpectLimit("{% macro f() %}" + Repeat("{% if 1 %}", 30) + "{{ " + Repeat("[", 25) + "f()" +
              Repeat("]", 25) + " }}" + Repeat("{% endif %}", 30) + "{% endmacro %}{{ f() }}");
  ExpectLimit("{% macro f(x=f()) %}{% endmacro %}{{ f() }}");
  EXPECT_EQ(RenderText("{% macro f(n) %}{{ n }}{% if n > 1 %},{{ f(n - 1) }}{% endif %}"
                       "{% endmacro %}{{ f(60) }}")
                .substr(0, 9),
            "60,59,58,");
}

TEST(TemplateLimits, Steps) {
  ExpectLimit("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}");
  ExpectLimit("{% for i in range(2000) %}{% for j in range(2000) %}x{% endfor %}{% endfor %}");
  ExpectLimit("{% set l = [1] %}{% for i in range(1000000) %}{{ l.append(1) }}{% endfor %}");
  ExpectLimit(
      "{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{{ s == s ~ '' }}"
      "{% endfor %}");
  ExpectLimit("{% set s = 'a' * 16000000 %}{% for i in range(100000) %}{{ 'b' in s }}{% endfor %}");
  ExpectLimit("{{ strftime_now('%q' * 3000000) }}");
  ExpectLimit("{{ ('%%' * 3000000) % () }}");
  ExpectLimit("{{ ('{{' * 3000000).format() }}");
}

TEST(TemplateLimits, Output) {
  ExpectLimit("{% set s = 'a' * 1000000 %}{% for i in range(20) %}{{ s }}{% endfor %}");
  EXPECT_EQ(RenderText("{{ 'a' * 16777216 }}").size(), 16777216u);
  ExpectLimit("{{ 'a' * 16777217 }}");
}

TEST(TemplateLimits, GrowthOfTexts) {
  ExpectLimit("{{ 'a' * 10**9 }}");
  ExpectLimit("{{ 10**18 * 'ab' }}");
  ExpectLimit(
      "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}"
      "{% endfor %}");
  ExpectLimit(
      "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}"
      "{% endfor %}");
  ExpectLimit(
      "{% set ns = namespace(s='ab') %}{% for i in range(100) %}"
      "{% set ns.s = [ns.s, ns.s]|join %}{% endfor %}");
  ExpectLimit("{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}");
  ExpectLimit("{{ ('a' * 1000000).replace('', 'b' * 1000000) }}");
  ExpectLimit("{{ ('\\n' * 1000000)|indent(1000000, true, true) }}");
  ExpectLimit("{{ 'x'|indent(10**15, true) }}");
  ExpectLimit("{{ [1]|tojson(indent=10**15) }}");
  ExpectLimit("{{ ('a' * 1000000).join(['b'] * 1000) }}");
  ExpectLimit("{{ '%s%s' % ('a' * 10000000, 'a' * 10000000) }}");
  ExpectLimit("{{ ('{0}' * 100).format('a' * 1000000) }}");
  ExpectLimit("{{ strftime_now('%A' * 8000000) }}");
}

TEST(TemplateLimits, GrowthOfLists) {
  ExpectLimit("{{ range(10**12) }}");
  ExpectLimit("{{ range(0, -1000000000000, -1)|list }}");
  ExpectLimit("{{ [1] * 10**9 }}");
  ExpectLimit("{{ 10**18 * (1, 2) }}");
  ExpectLimit(
      "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}"
      "{% endfor %}");
  ExpectLimit("{{ ('a' * 10000000)|list }}");
  ExpectLimit("{{ ('a,' * 8000000).split(',') }}");
  ExpectLimit(
      "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}"
      "{% set ns.l = ns.l + ['a' * 10000] %}{% endfor %}");
  // Each list holds the one before twice: 2^100 leaves.
  const std::string doubling =
      "{% set ns = namespace(l=[]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% endfor %}";
  ExpectLimit(doubling + "{{ ns.l }}");
  ExpectLimit(doubling + "{{ ns.l|tojson }}");
  ExpectLimit(doubling + "{% set m = ns.l %}" + doubling + "{{ ns.l == m }}");
}

TEST(TemplateLimits, ListsInThemselves) {
  const std::string cycle = "{% set l = [1] %}{% set _ = l.append(l) %}";
  ExpectLimit(cycle + "{{ l }}");
  ExpectLimit(cycle + "{{ l|tojson }}");
  ExpectLimit(cycle + "{% set m = [1] %}{% set _ = m.append(m) %}{{ l == m }}");
  ExpectLimit(cycle + "{% set m = [1] %}{% set _ = m.append(m) %}{{ l < m }}");
  EXPECT_EQ(RenderText(cycle + "{{ l|length }}{{ l[1][1][1][0] }}"), "21");
  EXPECT_EQ(RenderText("{% set d = {} %}{% set _ = d.update(a=d) %}{{ d.a.a.a|length }}"), "1");
  EXPECT_EQ(RenderText("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a[0].a|length }}"),
            "1");
  EXPECT_EQ(
      RenderText("{% set ns = namespace() %}{% macro m() %}{% endmacro %}{% set ns.m = m %}x"),
      "x");
}

TEST(TemplateLimits, DeepValuesCanBeDestroyed) {
  EXPECT_EQ(RenderText("{% set ns = namespace(l=[]) %}{% for i in range(50000) %}"
                       "{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|length }}"),
            "1");
  EXPECT_EQ(RenderText("{% set ns = namespace(l=[]) %}{% for i in range(20000) %}"
                       "{% for x in [ns.l] %}{% set ns.l = loop %}{% endfor %}{% endfor %}x"),
            "x");
}

TEST(TemplateLimits, StoredMacrosAndLoops) {
  EXPECT_EQ(RenderError("{% set ns = namespace() %}{% for i in [1] %}{% macro m() %}{{ i }}"
                        "{% endmacro %}{% set ns.m = m %}{% endfor %}{{ ns.m() }}"),
            "bad_request: chat template line 1: 'm' is called after its block has ended");
  EXPECT_EQ(RenderText("{% set ns = namespace() %}{% for i in [1, 2] %}{% set ns.l = loop %}"
                       "{% endfor %}{{ ns.l.length }}{{ ns.l.nextitem }}{{ ns.l.previtem }}"),
            "0");
}

TEST(TemplateLimits, DeepData) {
  ordered_json deep = 1;
  for (int i = 0; i < 2000; ++i) deep = ordered_json::array({std::move(deep)});
  EXPECT_EQ(RenderError("{{ x|length }}", {{"x", deep}}),
            "limit: variables of the chat template: nested more than 800 levels deep");
  EXPECT_EQ(RenderText("no x", {{"y", deep}}), "no x");
  ExpectLimit("{{ x|from_json }}", {{"x", std::string(100000, '[')}});
  EXPECT_EQ(RenderText("{{ x|from_json|length }}", {{"x", Repeat("[", 100) + Repeat("]", 100)}}),
            "1");
}

TEST(TemplateLimits, Integers) {
  const std::string overflow =
      "bad_request: chat template line 1: an integer does not fit into 64 bits";
  EXPECT_EQ(RenderError("{{ 9223372036854775807 + 1 }}"), overflow);
  EXPECT_EQ(RenderError("{{ -9223372036854775807 - 2 }}"), overflow);
  EXPECT_EQ(RenderError("{{ 9223372036854775807 * 2 }}"), overflow);
  EXPECT_EQ(RenderError("{{ 2 ** 63 }}"), overflow);
  EXPECT_EQ(RenderError("{{ 3 ** 9223372036854775807 }}"), overflow);
  EXPECT_EQ(RenderError("{{ -(-9223372036854775807 - 1) }}"), overflow);
  EXPECT_EQ(RenderError("{{ (-9223372036854775807 - 1) // -1 }}"), overflow);
  EXPECT_EQ(RenderError("{{ (-9223372036854775807 - 1)|abs }}"), overflow);
  EXPECT_EQ(RenderError("{{ 1e300|int }}"), overflow);
  EXPECT_EQ(RenderText("{{ (-9223372036854775807 - 1) % -1 }}"), "0");
  EXPECT_EQ(RenderText("{{ 1 ** 9223372036854775807 }}{{ (-1) ** 9223372036854775807 }}"), "1-1");
  EXPECT_EQ(RenderText("{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}"),
            "a");
  EXPECT_EQ(RenderText("{{ [1, 2][9223372036854775807] is defined }}"), "False");
  EXPECT_EQ(RenderText("{{ range(9223372036854775806, 9223372036854775807, 5)|list }}"),
            "[9223372036854775806]");
  EXPECT_NE(RenderError("{{ 99999999999999999999 }}"), "");
}

TEST(TemplateLimits, OrderWithoutSense) {
  EXPECT_EQ(RenderError("{{ ['nan'|float, 1.0, 'nan'|float]|sort }}"),
            "bad_request: chat template line 1: 'nan' cannot be sorted");
  EXPECT_EQ(RenderError("{{ [1, 'a', none]|sort }}").substr(0, 11), "bad_request");
}

}  // namespace
}  // namespace foveate
