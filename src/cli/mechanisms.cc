// `foveate mechanisms`: every way of attention that this build knows.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "cli/output.h"
#include "cli/verbs.h"
#include "mechanisms/registry.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view kAlignment =
    "i is the row's position, aligned at the bottom right: row r of N stands at M - N + r of M "
    "keys";

OrderedJson ParamJson(const Param& param) {
  OrderedJson object = {{"key", param.key}, {"expected", Expected(param)}, {"help", param.help}};
  if (!param.fallback.empty()) object["default"] = param.fallback;
  return object;
}

OrderedJson MechanismJson(const Mechanism& mechanism) {
  OrderedJson params = OrderedJson::array(), shorthands = OrderedJson::array();
  OrderedJson examples = OrderedJson::array();
  for (const Param& param : mechanism.params) params.push_back(ParamJson(param));
  for (const auto& shorthand : mechanism.shorthands) {
    shorthands.push_back(ParamJson(shorthand.param));
  }
  for (const Example& example : mechanism.examples) {
    examples.push_back(
        {{"spec", example.spec}, {"queries", example.queries}, {"keys", example.keys}});
  }
  return {{"name", mechanism.name},       {"synonyms", mechanism.synonyms},
          {"title", mechanism.title},     {"paper", mechanism.paper},
          {"formula", mechanism.formula}, {"cost", mechanism.cost},
          {"use", mechanism.use},         {"parameters", params},
          {"shorthands", shorthands},     {"counts_rows_of_the_call", mechanism.by_row},
          {"examples", examples}};
}

// "block=64,left" with the default where there is one.
std::string Signature(const Mechanism& mechanism) {
  std::string text;
  for (const Param& param : mechanism.params) {
    if (!text.empty()) text += ',';
    text += param.key;
    if (!param.fallback.empty()) text += fmt::format("={}", param.fallback);
  }
  return text;
}

void PrintTable() {
  for (const Mechanism& mechanism : Mechanisms()) {
    fmt::print("{:<22} {}\n", mechanism.name, mechanism.title);
    if (!mechanism.params.empty()) fmt::print("{:<22}   :{}\n", "", Signature(mechanism));
    fmt::print("{:<22}   {}\n{:<22}   cost: {}\n", "", mechanism.paper, "", mechanism.cost);
  }
  fmt::print("\n{}\nfoveate mechanisms NAME explains one, foveate show SPEC draws it.\n",
             kAlignment);
}

void PrintParam(const Param& param, std::string_view kind) {
  fmt::print("  {:<14} {}{}\n  {:<14} {}", param.key, param.help, kind, "", Expected(param));
  if (param.fallback.empty()) {
    fmt::print("\n");
  } else if (param.fallback == "none") {
    fmt::print("; may be left out\n");
  } else {
    fmt::print("; default {}\n", param.fallback);
  }
}

void PrintOne(const Mechanism& mechanism) {
  fmt::print("{}: {}\n", mechanism.name, mechanism.title);
  if (!mechanism.synonyms.empty()) {
    fmt::print("also called  {}\n", fmt::join(mechanism.synonyms, ", "));
  }
  fmt::print("sees         {}\n             {}\n", mechanism.formula, kAlignment);
  fmt::print("cost         {}\n", mechanism.cost);
  fmt::print("use          {}\n", mechanism.use);
  fmt::print("from         {}\n", mechanism.paper);
  if (mechanism.by_row) {
    fmt::print("note         counts rows of one call: a chunk of a prompt needs its own\n");
  }
  if (!mechanism.params.empty()) fmt::print("\nparameters\n");
  for (const Param& param : mechanism.params) PrintParam(param, "");
  for (const Shorthand& shorthand : mechanism.shorthands) {
    PrintParam(shorthand.param, " (shorthand)");
  }
  fmt::print("\nexamples\n");
  for (const Example& example : mechanism.examples) {
    fmt::print("  foveate show '{}' --length {}", example.spec, example.queries);
    if (example.keys != example.queries) fmt::print(" --keys {}", example.keys);
    fmt::print("\n");
  }
}

int ListMechanisms(const std::string& name, bool json) {
  if (!name.empty()) {
    const Mechanism& mechanism = FindMechanism(name);
    if (json) {
      PrintJson(MechanismJson(mechanism));
    } else {
      PrintOne(mechanism);
    }
  } else if (json) {
    OrderedJson list = OrderedJson::array();
    for (const Mechanism& mechanism : Mechanisms()) list.push_back(MechanismJson(mechanism));
    PrintJson(list);
  } else {
    PrintTable();
  }
  return kExitOk;
}

}  // namespace

void AddMechanismsVerb(CLI::App& app, Work& work) {
  auto name = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App* verb =
      app.add_subcommand("mechanisms", "The attention mechanisms and their parameters");
  verb->add_option("name", *name, "explain this one")->type_name("NAME");
  verb->add_flag("--json", *json, "print JSON");
  verb->callback([=, &work] { work = [=] { return ListMechanisms(*name, *json); }; });
}

}  // namespace foveate::cli
