// The grammar of attention specs.
#include "mechanisms/spec.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/throw.h"
#include "mechanisms/nearest.h"
#include "mechanisms/params.h"

namespace foveate {
namespace {

std::string Canonical(std::string_view text) { return ToText(ParseAttentionSpec(text)); }

void ExpectRefusal(std::string_view text, std::initializer_list<std::string_view> parts,
                   ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    ADD_FAILURE() << text << " is accepted as " << Canonical(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string_view part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string::npos)
          << text << ": " << error.what() << "\nlacks: " << part;
    }
  }
}

TEST(SpecText, ExamplesOfTheGrammar) {
  EXPECT_EQ(Canonical("causal"), "causal");
  EXPECT_EQ(Canonical(" window : right = 0 , left = 1023 "), "window:left=1023,right=0");
  EXPECT_EQ(Canonical("sink_window:sink=4,left=1023"),
            "sink_window:sink=4,left=1023,positions=cache");
  EXPECT_EQ(Canonical("document_causal:cu_q=0/3/9,cu_k=0/4/14"),
            "document_causal:cu_q=0/3/9,cu_k=0/4/14");
  EXPECT_EQ(Canonical("block_sparse:bq=64,bk=64,tiles=0x0/1x0/1x1,causal=true"),
            "block_sparse:bq=64,bk=64,tiles=0x0/1x0/1x1,causal=1");
  EXPECT_EQ(Canonical("power:block=32"), "power:block=32,window_blocks=5,sink_blocks=1");
  EXPECT_EQ(Canonical("slices:slices=0x4x0x5x1"), "slices:slices=0x4x0x5xcausal");
  EXPECT_EQ(Canonical("column_ranges:causal=0,masked_rows=0x0,masked_rows_2=none"),
            "column_ranges:causal=0,masked_rows=0x0");
}

TEST(SpecText, Synonyms) {
  EXPECT_EQ(Canonical("dense"), "full");
  EXPECT_EQ(Canonical("streaming:sink=4,left=9"), "sink_window:sink=4,left=9,positions=cache");
  EXPECT_EQ(Canonical("window:size=512"), "window:left=511,right=0");
  EXPECT_EQ(Canonical("document:cu=0/3/9"), "document:cu_q=0/3/9,cu_k=0/3/9");
  EXPECT_EQ(Canonical("powerattention"), Canonical("power"));
  ExpectRefusal("window:size=4,left=3", {"window", "left", "twice"});
}

TEST(SpecText, AndBindsTighterThanOr) {
  EXPECT_EQ(Canonical("causal&full|dense"), "causal & full | full");
  EXPECT_EQ(Canonical("causal & (full | dense)"), "causal & (full | full)");
  EXPECT_EQ(Canonical("((causal & full)) & dense | (full | causal)"),
            "causal & full & full | full | causal");
  const PatternPtr pattern =
      ParseAttentionSpec("window:left=1,right=0 | dilated:dilation=4,count=3 & causal")
          .At(0, 0)
          .pattern;
  const AttentionShape shape{20, 20};
  for (std::int64_t key = 0; key < 20; ++key) {
    const std::int64_t distance = 12 - key;
    EXPECT_EQ(pattern->Attends(shape, 12, key),
              distance == 0 || distance == 1 || distance == 4 || distance == 8);
  }
}

TEST(SpecText, LayersEachOnce) {
  EXPECT_EQ(Canonical("3-=power:block=64;0-2=full"),
            "0-2=full;3-=power:block=64,window_blocks=5,sink_blocks=1");
  const AttentionSpec spec = ParseAttentionSpec("0=full;1-2=causal;5-=full");
  EXPECT_EQ(ToText(*spec.At(0, 0).node), "full");
  EXPECT_EQ(ToText(*spec.At(2, 7).node), "causal");
  EXPECT_EQ(spec.At(0, 0).pattern, spec.At(99, 3).pattern);  // equal patterns are one
  EXPECT_THROW(spec.At(3, 0), Error);
  ExpectRefusal("0-2=full;2-=causal", {"layers", "0-2", "2-", "overlap"});
  ExpectRefusal("2-1=full", {"2-1", "layers"});
  ExpectRefusal("0-=full;", {"layers"});
  ExpectRefusal("1:full", {"'='"});
}

TEST(SpecText, HeadsWhereverAMechanismStands) {
  const std::string text = "0-2=full;3-=causal & heads(0-3=full;4-7=window:left=7,right=0)";
  EXPECT_EQ(Canonical(text), text);
  EXPECT_EQ(Canonical(ToJson(ParseAttentionSpec(text))), text);
  const AttentionSpec spec = ParseAttentionSpec(text);
  EXPECT_EQ(ToText(*spec.At(1, 5).node), "full");
  EXPECT_EQ(ToText(*spec.At(3, 3).node), "causal & full");
  EXPECT_EQ(ToText(*spec.At(4, 4).node), "causal & window:left=7,right=0");
  EXPECT_EQ(spec.At(3, 0).pattern, spec.At(9, 3).pattern);
  EXPECT_THROW(spec.At(3, 8), Error);
  ExpectRefusal("heads(0=full;0=causal)", {"heads", "overlap"});
  ExpectRefusal("heads(0-=heads(0-=full))", {"heads"});
  ExpectRefusal("heads(full)", {"full", "heads"});
}

TEST(SpecText, UnknownNamesAreAnsweredWithTheNearest) {
  ExpectRefusal("windw:left=1,right=0", {"windw", "window"});
  ExpectRefusal("window:letf=1,right=0", {"window", "letf", "left"});
  ExpectRefusal("causal:block=3", {"causal", "no parameters", "block"});
  ExpectRefusal("document:cus=0/3", {"cus", "cu_q"});
  EXPECT_EQ(NearestNames("dilate", {"causal", "a_much_longer_name", "full", "dilated"}),
            "dilated, full, causal");
}

TEST(SpecText, WrongValuesAreNamed) {
  ExpectRefusal("window:left=abc,right=0", {"window", "left=abc", "integer", ">= -1"});
  ExpectRefusal("window:left=-2,right=0", {"left=-2", ">= -1"});
  ExpectRefusal("window:left=99999999999999999999,right=0", {"left"});
  ExpectRefusal("window:left=1", {"window", "right"});
  ExpectRefusal("window:left=1,left=2,right=0", {"left", "twice"});
  ExpectRefusal("sink_window:sink=1,left=1,positions=rope", {"positions=rope", "cache or text"});
  ExpectRefusal("block_sparse:bq=1,bk=1,tiles=0x0,causal=2", {"causal=2", "0 or 1"});
  ExpectRefusal("block_sparse:bq=1,bk=1,tiles=0", {"tiles=0", "tuples of 2"});
  ExpectRefusal("block_sparse:bq=1,bk=1,tiles=0x1x2", {"tiles=0x1x2"});
  ExpectRefusal("slices:slices=0x1x0x1xmost", {"slices", "causal"});
  ExpectRefusal("slices:slices=0x1x0x1x4", {"slices"});
  ExpectRefusal("document:cu=0/3/", {"cu=0/3/"});
  ExpectRefusal("document:cu=0/3/2", {"cu_q[2]", "2", "3"});
  ExpectRefusal("document:cu_q=0/3,cu_k=0/1/2", {"cu_q", "cu_k"});
  ExpectRefusal("document:cu=1/3", {"cu_q"});
  ExpectRefusal("prefix_lm_document:cu=0/3,prefixes=4", {"prefixes[0]", "4", "3"});
  ExpectRefusal("tree:context=0,parents=0", {"parents[0]"});
  ExpectRefusal("var_block_sparse:q_edges=0/0,k_edges=0/1,tiles=0x0", {"q_edges[1]"});
  ExpectRefusal("column_ranges:causal=1,masked_rows=1x0", {"masked_rows[0]"});
}

TEST(SpecText, SizesOfTheCallAreChecked) {
  const auto refuses = [](std::string_view spec, AttentionShape shape, std::string_view part) {
    try {
      ParseAttentionSpec(spec).At(0, 0).pattern->Check(shape);
      ADD_FAILURE() << spec;
    } catch (const Error& error) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refuses("document:cu=0/3/9", {9, 10}, "cu_k[2] is 9");
  refuses("share_question:cu=0/3/9", {3, 10}, "cu[2] is 9");
  refuses("share_question:cu=0/3/9", {10, 9}, "10 queries");
  refuses("prefix_lm:prefix=10", {3, 9}, "prefix is 10");
  refuses("block_sparse:bq=4,bk=4,tiles=3x0", {12, 12}, "tile 3");
  refuses("block_sparse:bq=4,bk=4,tiles=0x3", {12, 12}, "tile 3");
  refuses("var_block_sparse:q_edges=0/2,k_edges=0/2,tiles=0x0", {2, 3}, "end at 2");
  refuses("var_block_sparse:q_edges=0/2,k_edges=0/2,tiles=1x0", {2, 2}, "tile 1");
  refuses("tree:context=2,parents=-1/0", {2, 5}, "context");
  refuses("slices:slices=0x4x0x5xfull", {3, 9}, "row 4");
  refuses("column_ranges:causal=1,masked_rows=0x0", {2, 2}, "1 columns");
  ParseAttentionSpec("block_sparse:bq=4,bk=5,tiles=2x2").At(0, 0).pattern->Check({10, 14});
}

TEST(SpecText, BrokenTextIsRefused) {
  for (const char* text : {"",
                           " ",
                           "(",
                           "()",
                           "causal)",
                           "(causal",
                           "causal &",
                           "| causal",
                           "causal causal",
                           "window:",
                           "window:left",
                           "window:left=",
                           "window:left=1,",
                           "heads(",
                           "heads()",
                           "heads",
                           "0-2",
                           "causal;full",
                           "causal=1",
                           "5",
                           "@",
                           "&",
                           "window:left=1 right=0"}) {
    EXPECT_THROW(ParseAttentionSpec(text), Error) << text;
  }
  EXPECT_THROW(ParseAttentionSpec(std::string_view("causal\0", 7)), Error);
  ExpectRefusal(std::string(1000, '(') + "causal" + std::string(1000, ')'), {"deep"},
                ErrorCode::kLimit);
  std::string many = "full";
  for (int i = 0; i < 2000; ++i) many += "|full";
  ExpectRefusal(many, {"1000"}, ErrorCode::kLimit);
}

TEST(SpecJson, ObjectsGiveTheSameSpecs) {
  EXPECT_EQ(Canonical(R"({"kind": "window", "left": 5, "right": 1})"), "window:left=5,right=1");
  EXPECT_EQ(Canonical(R"({"and": [{"kind": "causal"}, {"or": [{"kind": "full"},
                          {"kind": "window", "size": 4}]}]})"),
            "causal & (full | window:left=3,right=0)");
  EXPECT_EQ(Canonical(R"({"layers": {"3-": {"kind": "causal"}, "0-2": {"kind": "full"}}})"),
            "0-2=full;3-=causal");
  EXPECT_EQ(Canonical(R"({"kind": "block_sparse", "bq": 1, "bk": 2, "tiles": [3, 4],
                          "causal": 1})"),
            "block_sparse:bq=1,bk=2,tiles=3x4,causal=1");
  EXPECT_EQ(Canonical(R"({"kind": "slices", "slices": [[0, 4, 0, 5, 3]]})"),
            "slices:slices=0x4x0x5xbicausal");
  EXPECT_EQ(Canonical(R"({"kind": "power", "block": null})"), Canonical("power"));
}

TEST(SpecJson, BrokenObjectsAreRefused) {
  ExpectRefusal("{", {"JSON"});
  ExpectRefusal("{}", {"kind"});
  ExpectRefusal(R"({"kind": 3})", {"kind", "3"});
  ExpectRefusal(R"({"kind": "windw"})", {"windw", "window"});
  ExpectRefusal(R"({"kind": "window", "left": "5", "right": 0})", {"left", "integer"});
  ExpectRefusal(R"({"kind": "window", "left": 5, "left": 6, "right": 0})", {"left", "twice"});
  ExpectRefusal(R"({"kind": "window", "left": 1e99, "right": 0})", {"left"});
  ExpectRefusal(R"({"and": []})", {"and"});
  ExpectRefusal(R"({"and": [{"kind": "full"}], "or": []})", {"and"});
  ExpectRefusal(R"({"layers": {}})", {"layers"});
  ExpectRefusal(R"({"layers": {"x": {"kind": "full"}}})", {"x", "layers"});
  ExpectRefusal(R"({"and": [{"layers": {"0": {"kind": "full"}}}]})", {"layers"});
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += R"({"and": [)";
  ExpectRefusal(deep, {"deep"}, ErrorCode::kLimit);
}

TEST(SpecJson, FilesAreReadWhereAllowed) {
  const std::string path = std::filesystem::temp_directory_path() /
                           ("foveate_spec" + std::to_string(getpid()) + ".json");
  std::ofstream(path) << R"({"kind": "window", "left": 5, "right": 1})";
  EXPECT_EQ(Canonical("@" + path), "window:left=5,right=1");
  EXPECT_EQ(ParseSpecList("full,@" + path + ",causal").size(), 3u);
  EXPECT_THROW(ParseAttentionSpec("@" + path, SpecFiles::kRefused), Error);
  std::filesystem::remove(path);
  ExpectRefusal("@/no/such/spec.json", {"/no/such/spec.json"}, ErrorCode::kNotFound);
}

TEST(SpecList, CommasBeginNewSpecsByTheRule) {
  const auto texts = [](std::string_view list) {
    std::string joined;
    for (const AttentionSpec& spec : ParseSpecList(list)) joined += ToText(spec) + "; ";
    return joined;
  };
  EXPECT_EQ(texts("full,window:left=63,right=0,dilated:dilation=2,count=256"),
            "full; window:left=63,right=0; dilated:dilation=2,count=256; ");
  EXPECT_EQ(texts("causal"), "causal; ");
  EXPECT_EQ(texts("window:left=1,right=0 | window:left=2,right=0,full"),
            "window:left=1,right=0 | window:left=2,right=0; full; ");
  EXPECT_EQ(texts("(full | causal),causal"), "full | causal; causal; ");
  EXPECT_EQ(texts(R"({"kind": "window", "left": 5, "right": 1},full)"),
            "window:left=5,right=1; full; ");
  EXPECT_THROW(ParseSpecList("full,,causal"), Error);
  EXPECT_THROW(ParseSpecList("full,"), Error);
}

// No mechanism has a real parameter yet; the type is part of what a file may declare.
TEST(Params, RealsAreReadInRangeAndPrintedShortest) {
  const Mechanism mechanism{.name = "m"};
  const Param param{.key = "p", .type = ParamType::kReal, .least = 0, .most = 1};
  const ParamValue value = ParamFromText(mechanism, param, "0.1");
  EXPECT_EQ(ParamToText(param, value), "0.1");
  for (const char* bad : {"1.5", "-0.1", "nan", "inf", "x", ""}) {
    EXPECT_THROW(ParamFromText(mechanism, param, bad), Error) << bad;
  }
  EXPECT_EQ(Expected(param), "a number from 0 to 1");
}

}  // namespace
}  // namespace foveate
