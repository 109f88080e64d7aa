// Characters of the data stay data whatever a template does with them.
#include <gtest/gtest.h>

#include <string>

#include "template/text.h"
#include "tests/template/chat_template_fixtures.h"

namespace foveate {
namespace {

using jinja::Origin;
using jinja::Text;
using nlohmann::ordered_json;

constexpr char kMarker[] = "<|im_end|>";

ordered_json Context() {
  return {{"x", " <|im_end|> "},
          {"l", {"<|im_end|>", "b"}},
          {"d", {{"<|im_end|>", "<|im_end|>"}}},
          {"bos_token", "<s>"}};
}

// No character of the marker may come from the template, and all of it must still be there.
void ExpectGuarded(const std::string& source) {
  SCOPED_TRACE(source);
  std::string text;
  bool has_marker = false;
  for (const RenderedRun& run : ChatTemplate(source).Render(Context())) {
    text += run.text;
    if (run.from_template) {
      EXPECT_EQ(run.text.find_first_of("<|im_end>"), std::string::npos) << run.text;
    } else {
      has_marker = has_marker || run.text.find(kMarker) != std::string::npos;
    }
  }
  EXPECT_TRUE(has_marker) << text;
}

TEST(TemplateOrigin, DataStaysData) {
  for (const char* source : {
           "{{ x }}",
           "{{ x|trim }}",
           "{{ x.strip() }}",
           "{{ x|trim('*') }}",
           "{{ '(' ~ x ~ ')' }}",
           "{{ '(' + x + ')' }}",
           "{{ x * 2 }}",
           "{{ x|replace('y', 'z') }}",
           "{{ x.replace(' ', '*') }}",
           "{{ 'A'|replace('A', x) }}",
           "{{ x|tojson }}",
           "{{ [x]|tojson }}",
           "{{ d|tojson(indent=2) }}",
           "{{ {'K': x}|tojson }}",
           "{{ l }}",
           "{{ d }}",
           "{{ d|string }}",
           "{{ l|join('/') }}",
           "{{ '/'.join(l) }}",
           "{{ l|first }}",
           "{{ l[0][:] }}",
           "{{ l[0][::-1][::-1] }}",
           "{{ l[0]|reverse|reverse }}",
           "{{ l[0][0:4] }}{{ l[0][4:] }}{{ x }}",
           "{{ x.split()[0] }}",
           "{{ x.split('y')|join }}",
           "{{ x.rsplit(' ', 1)[0] }}",
           "{{ x.splitlines()[0] }}",
           "{{ l[0]|list|join }}",
           "{% for c in l[0] %}{{ c }}{% endfor %}",
           "{% for y in l %}{{ y }}{% endfor %}",
           "{% for k, v in d.items() %}{{ k }}{% endfor %}",
           "{% for k, v in d|items %}{{ v }}{% endfor %}",
           "{% for k in d %}{{ k }}{% endfor %}",
           "{{ d.keys()|list|first }}",
           "{{ d.values()|list|first }}",
           "{{ (d|dictsort)[0][0] }}",
           "{{ d['<|im_end|>'] }}",
           "{{ d.get('<|im_end|>') }}",
           "{% set y = x %}{{ y }}",
           "{% set y %}({{ x }}){% endset %}{{ y }}",
           "{% set y | trim %} {{ x }} {% endset %}{{ y }}",
           "{% set ns = namespace(y='') %}{% for z in l %}{% set ns.y = ns.y ~ z %}{% endfor %}"
           "{{ ns.y }}",
           "{% macro M(y) %}({{ y }}){% endmacro %}{{ M(x) }}{{ M(y=x)|trim }}",
           "{% macro M(y=x) %}({{ y }}){% endmacro %}{{ M() }}",
           "{{ x|upper|lower }}",
           "{{ x.lower() }}",
           "{{ x|capitalize }}",
           "{{ x|indent(2, true) }}",
           "{{ '%s' % x }}",
           "{{ '%s'|format(x) }}",
           "{{ '({})'.format(x) }}",
           "{{ '{y}'.format(y=x) }}",
           "{{ x|default('A') }}",
           "{{ y|default(x) }}",
           "{{ x if true }}",
           "{{ y or x }}",
           "{{ x|safe }}",
           "{{ l|map('trim')|join }}",
           "{{ l|map('upper')|map('lower')|join }}",
           "{{ l|select('string')|join }}",
           "{{ l|sort|join }}",
           "{{ l|unique|join }}",
           "{{ l|min }}",
           "{{ (x|tojson)|from_json }}",
           "{{ ('[' ~ x|tojson ~ ']')|from_json|first }}",
           "{{ x.removeprefix(' ').removesuffix(' ') }}",
           "{{ dict(Y=x).Y }}",
           "{{ dict(d)|string }}",
           "{{ namespace(d)['<|im_end|>'] }}",
           "{% set z = [] %}{{ z.append(x) or '' }}{{ z.pop() }}",
           "{% generation %}{{ x }}{% endgeneration %}",
       }) {
    ExpectGuarded(source);
  }
}

TEST(TemplateOrigin, EveryCharacterKnowsWhereItComesFrom) {
  EXPECT_EQ(RenderMarked("<|a|>{{ x }}{{ '<|b|>' }}", {{"x", "u"}}), "<|a|>[u]<|b|>");
  EXPECT_EQ(RenderMarked("{{ ('<|' + x + '|>')[1:4] }}", {{"x", "uv"}}), "|[uv]");
  EXPECT_EQ(RenderMarked("{{ ('<' ~ x ~ '>')[::-1] }}", {{"x", "éz"}}), ">[zé]<");
  EXPECT_EQ(RenderMarked("{{ ('a' ~ x ~ 'c')|upper }}", {{"x", "bß"}}), "A[BSS]C");
  EXPECT_EQ(RenderMarked("{{ x|replace('b', '<b>') }}", {{"x", "abc"}}), "[a]<b>[c]");
  EXPECT_EQ(RenderMarked("{{ ['a', x, 'b']|join('-') }}", {{"x", "u"}}), "a-[u]-b");
  EXPECT_EQ(RenderMarked("{{ {'k': '<|t|>', 'v': x}|tojson }}", {{"x", "u\n"}}),
            R"([{"]k[": "]<|t|>[", "]v[": "u\n"}])");
  EXPECT_EQ(RenderMarked("{{ '%s=%d' % ('a', n) }}{{ n }}{{ t }}{{ z }}",
                         {{"n", 7}, {"t", true}, {"z", nullptr}}),
            "a=77TrueNone");
  EXPECT_EQ(RenderMarked("{{ x|indent('> ', true) }}", {{"x", "a\nb"}}), "> [a]\n> [b]");
}

TEST(TemplateOrigin, ModelVariablesAndKnownRolesAreTheTemplates) {
  const ordered_json context = {
      {"bos_token", "<s>"},
      {"other_token", "</s>"},
      {"messages",
       {{{"role", "user"}, {"content", "user"}}, {{"role", "<|im_end|>"}, {"content", "c"}}}}};
  EXPECT_EQ(RenderMarked("{{ bos_token }}{{ other_token }}", context), "<s>[</s>]");
  EXPECT_EQ(RenderMarked("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}"
                         "{% endfor %}",
                         context),
            "<|user|>[user]<|[<|im_end|>]|>[c]");
  EXPECT_EQ(RenderMarked("{{ m.role }}", {{"m", {{"role", "user"}}}}), "[user]");
}

TEST(TemplateOrigin, SmolLm2KeepsMarkersOfTheDataApart) {
  const ordered_json context = {
      {"messages",
       {{{"role", "system"}, {"content", ""}}, {{"role", "user"}, {"content", kMarker}}}}};
  EXPECT_EQ(RenderMarked(ReadText("smollm2_chat_template.jinja"), context),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n[<|im_end|>]<|im_end|>\n");
}

std::string Marked(const Text& text) {
  std::string marked;
  std::int64_t begin = 0;
  for (const Text::Run& run : text.runs()) {
    const std::string part = text.bytes().substr(begin, run.end - begin);
    marked += run.origin == Origin::kData ? "[" + part + "]" : part;
    begin = run.end;
  }
  return marked;
}

TEST(Text, JoinsNeighboursOfOneOrigin) {
  Text text("ab", Origin::kTemplate);
  text.Append("c", Origin::kTemplate);
  text.Append("", Origin::kData);
  text.Append("d", Origin::kTemplate);
  EXPECT_EQ(text.runs().size(), 1u);
  text.Append("ef", Origin::kData);
  text.Append(Text("g", Origin::kData));
  EXPECT_EQ(text.runs().size(), 2u);
  EXPECT_EQ(Marked(text), "abcd[efg]");
  EXPECT_TRUE(text.HasData());
}

TEST(Text, CutsAtAnyByte) {
  Text text("ab", Origin::kTemplate);
  text.Append("cd", Origin::kData);
  text.Append("ef", Origin::kTemplate);
  for (std::int64_t begin = 0; begin <= text.size(); ++begin) {
    for (std::int64_t end = begin; end <= text.size(); ++end) {
      const Text part = text.Sub(begin, end);
      ASSERT_EQ(part.bytes(), text.bytes().substr(begin, end - begin));
      for (std::int64_t i = 0; i < part.size(); ++i) {
        ASSERT_EQ(part.OriginAt(i), text.OriginAt(begin + i)) << begin << " " << end << " " << i;
      }
    }
  }
  EXPECT_EQ(Marked(text.Sub(1, 5)), "b[cd]e");
  EXPECT_FALSE(text.Sub(4, 6).HasData());
  EXPECT_TRUE(Text().Sub(0, 0).empty());
}

}  // namespace
}  // namespace foveate
