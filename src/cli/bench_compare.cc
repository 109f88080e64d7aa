// `foveate bench compare`: what changed between two reports of `bench attention` or `bench llm`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/throw.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "format/printable.h"
#include "runtime/attention_bench.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t kFewestRepetitions = 3;  // with fewer the spread says nothing

struct Flags {
  std::string before, after;
  std::optional<double> fail_slower;  // percent
  bool json = false;
};

struct Row {
  std::string name;  // everything that two rows must have in common to be compared
  double median = 0;
  double spread = 0;  // of the middle half of the repetitions, as a share of the median
};

struct Report {
  OrderedJson machine;  // and options: all but the rows
  std::vector<Row> rows;
};

struct Change {
  Row before, after;

  double ratio() const { return after.median / before.median; }
  double noise() const { return before.spread + after.spread; }
  bool significant() const { return std::abs(ratio() - 1) > noise(); }
  const char* verdict() const {
    return !significant() ? "noise" : ratio() > 1 ? "slower" : "faster";
  }
};

std::string RowName(const OrderedJson& row) {
  const auto number = [&](const char* key) { return row.at(key).get<std::int64_t>(); };
  const auto text = [&](const char* key) { return row.at(key).get<std::string>(); };
  if (row.contains("test")) {
    return fmt::format("{} {} at depth {}", text("test"), number("tokens"), number("depth"));
  }
  const bool cached = row.contains("kv") && row.at("kv").is_string();
  const bool backward = row.contains("pass") && text("pass") == "backward";
  return fmt::format("{}/{} heads, {} x {}, D{} {}, {}{}", number("query_heads"),
                     number("kv_heads"), number("queries"), number("keys"), number("dim"),
                     cached ? text("kv") + " cache" : text("dtype"), text("attention"),
                     backward ? " backward" : "");
}

Row ReadRow(const OrderedJson& json, const std::string& path) {
  auto seconds = json.at("seconds").get<std::vector<double>>();
  const std::string name = RowName(json);
  if (seconds.size() < kFewestRepetitions) {
    Throw(ErrorCode::kInvalidArgument, "{}: {}: {} repetitions, at least {} are needed (--reps)",
          path, Printable(name), seconds.size(), kFewestRepetitions);
  }
  std::sort(seconds.begin(), seconds.end());
  if (!(seconds.front() > 0)) {
    Throw(ErrorCode::kCorruptFile, "{}: {}: {} seconds", path, Printable(name), seconds.front());
  }
  const double median = Median(seconds);
  const std::size_t quarter = seconds.size() / 4;
  return {name, median, (seconds[seconds.size() - 1 - quarter] - seconds[quarter]) / median};
}

Report ReadReport(const std::string& path) {
  try {
    Report report{.machine = OrderedJson::parse(ReadTextFile(path))};
    for (const OrderedJson& row : report.machine.at("rows")) {
      // `bench llm --peer` reports rows of other engines as well.
      const bool ours = row.contains("attention") || row.value("engine", "") == "foveate";
      if (ours) report.rows.push_back(ReadRow(row, path));
    }
    report.machine.erase("rows");
    return report;
  } catch (const OrderedJson::exception&) {
    Throw(ErrorCode::kCorruptFile,
          "{}: not what `foveate bench attention --json` or `bench llm --json` prints", path);
  }
}

struct Comparison {
  std::vector<Change> changes;
  std::vector<std::string> only_before, only_after;
};

Comparison Match(const Report& before, const Report& after) {
  Comparison result;
  std::vector<Row> unmatched = after.rows;
  for (const Row& row : before.rows) {
    const auto match = std::find_if(unmatched.begin(), unmatched.end(),
                                    [&](const Row& other) { return other.name == row.name; });
    if (match == unmatched.end()) {
      result.only_before.push_back(row.name);
    } else {
      result.changes.push_back({row, *match});
      unmatched.erase(match);
    }
  }
  for (const Row& row : unmatched) result.only_after.push_back(row.name);
  return result;
}

OrderedJson ComparisonJson(const Comparison& comparison) {
  OrderedJson rows = OrderedJson::array();
  for (const Change& change : comparison.changes) {
    rows.push_back({{"row", change.before.name},
                    {"before_seconds", change.before.median},
                    {"after_seconds", change.after.median},
                    {"ratio", change.ratio()},
                    {"noise", change.noise()},
                    {"verdict", change.verdict()}});
  }
  return {{"rows", rows},
          {"only_before", comparison.only_before},
          {"only_after", comparison.only_after}};
}

// Two machines or settings may be compared, but not unawares.
void PrintDifferences(const OrderedJson& before, const OrderedJson& after) {
  for (const auto& [key, value] : before.items()) {
    if (value.is_structured() || !after.contains(key) || after[key] == value) continue;
    fmt::print("{}: {} before, {} after\n", Printable(key), Printable(value.dump()),
               Printable(after[key].dump()));
  }
}

void PrintTable(const Comparison& comparison) {
  fmt::print("{:>11} {:>11} {:>7} {:>7} {:>7}  row\n", "before", "after", "ratio", "noise", "");
  for (const Change& change : comparison.changes) {
    fmt::print("{:>8.2f} ms {:>8.2f} ms {:>6.2f}x {:>6.1f}% {:>7}  {}\n",
               change.before.median * 1e3, change.after.median * 1e3, change.ratio(),
               change.noise() * 100, change.verdict(), Printable(change.before.name));
  }
  for (const std::string& name : comparison.only_before) {
    fmt::print("only before: {}\n", Printable(name));
  }
  for (const std::string& name : comparison.only_after) {
    fmt::print("only after: {}\n", Printable(name));
  }
}

int CompareVerb(const Flags& flags) {
  const Report before = ReadReport(flags.before), after = ReadReport(flags.after);
  const Comparison comparison = Match(before, after);
  if (comparison.changes.empty()) {
    Throw(ErrorCode::kInvalidArgument, "{} and {} have no row in common", flags.before,
          flags.after);
  }
  if (flags.json) {
    PrintJson(ComparisonJson(comparison));
  } else {
    PrintDifferences(before.machine, after.machine);
    PrintTable(comparison);
  }
  const bool failed =
      flags.fail_slower &&
      std::any_of(comparison.changes.begin(), comparison.changes.end(), [&](const Change& change) {
        return change.significant() && change.ratio() > 1 + *flags.fail_slower / 100;
      });
  return failed ? kExitCheckFailed : kExitOk;
}

constexpr const char* kFooter =
    R"(Rows are the same if heads, sizes, type and mechanism are, or test, tokens and depth. The ratio is
that of the median times, above 1 slower. It is a change if it is off 1 by more than the noise: the
spread of the middle half of the repetitions, as a share of their median, of both rows together.
Needs 3 repetitions of each row.

Example:
  foveate bench attention --attention full,causal --json >before.json
  foveate bench compare before.json after.json --fail-slower 5)";

}  // namespace

void AddBenchCompareVerb(CLI::App& bench, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = bench.add_subcommand("compare", "What changed between two reports");
  verb->footer(kFooter);
  verb->add_option("before", flags->before, "JSON of `bench attention` or `bench llm`")
      ->required()
      ->type_name("A.json");
  verb->add_option("after", flags->after, "the same, later or with other options")
      ->required()
      ->type_name("B.json");
  verb->add_option("--fail-slower", flags->fail_slower,
                   "exit with status 1 if a row changed and is slower by more than this")
      ->check(CLI::Range(0.0, 1e6))
      ->type_name("PERCENT");
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return CompareVerb(*flags); }; });
}

}  // namespace foveate::cli
