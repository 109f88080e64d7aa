#include "cli/eval_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <span>

#include "cli/line_chart.h"

namespace foveate::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Rows that were evaluated alike.
using Table = std::span<const EvalSummary>;

bool SameTable(const EvalSummary& a, const EvalSummary& b) {
  return a.setting.model == b.setting.model && a.task == b.task && a.context == b.context &&
         a.setting.options == b.setting.options && a.setting.decoding == b.setting.decoding;
}

std::vector<Table> Tables(const std::vector<EvalSummary>& summaries) {
  std::vector<Table> tables;
  for (auto first = summaries.begin(); first != summaries.end();) {
    const auto last = std::find_if_not(
        first, summaries.end(), [&](const EvalSummary& row) { return SameTable(*first, row); });
    tables.emplace_back(first, last);
    first = last;
  }
  return tables;
}

struct Column {
  std::string title;
  std::function<std::string(const EvalSummary&)> cell;
};

std::string RangeCell(const Interval& range) {
  return fmt::format("{:.3f} to {:.3f}", range.low, range.high);
}

std::vector<Column> ColumnsOf(EvalTask task) {
  std::vector<Column> columns = {
      {"attention", [](const EvalSummary& row) { return row.setting.name; }},
      {"density", [](const EvalSummary& row) { return fmt::format("{:.3f}", row.density); }}};
  if (task == EvalTask::kPerplexity) {
    const auto versus = [](const EvalSummary& row, std::string text) {
      return row.is_baseline ? std::string("-") : text;
    };
    columns.push_back({"perplexity", [](const EvalSummary& row) {
                         return fmt::format("{:.3f}", row.perplexity);
                       }});
    columns.push_back({"ratio", [=](const EvalSummary& row) {
                         return versus(row, fmt::format("{:.4f}", row.ratio));
                       }});
    columns.push_back(
        {"95 %", [=](const EvalSummary& row) { return versus(row, RangeCell(row.ratio_range)); }});
    columns.push_back({"KL", [=](const EvalSummary& row) {
                         return versus(row, fmt::format("{:.4f}", row.divergence));
                       }});
    columns.push_back({"same top", [=](const EvalSummary& row) {
                         return versus(row, fmt::format("{:.1f} %", row.agreement * 100));
                       }});
  } else {
    columns.push_back({"right", [](const EvalSummary& row) {
                         return fmt::format("{}/{}", row.rate.correct, row.rate.trials);
                       }});
    columns.push_back({"95 %", [](const EvalSummary& row) { return RangeCell(row.rate_range); }});
    columns.push_back({"p", [](const EvalSummary& row) {
                         return row.is_baseline ? "-" : fmt::format("{:.3f}", row.p_value);
                       }});
    columns.push_back({"by depth", [](const EvalSummary& row) {
                         std::string text;
                         for (const auto& [depth, rate] : row.depths) {
                           text += fmt::format("{}{:g}: {}/{}", text.empty() ? "" : ", ", depth,
                                               rate.correct, rate.trials);
                         }
                         return text;
                       }});
  }
  columns.push_back({"attention s", [](const EvalSummary& row) {
                       return fmt::format("{:.3f}", row.attention_seconds);
                     }});
  columns.push_back({"choosing s", [](const EvalSummary& row) {
                       return fmt::format("{:.3f}", row.selection_seconds);
                     }});
  columns.push_back(
      {"share", [](const EvalSummary& row) { return fmt::format("{:.3f}", row.attention_share); }});
  columns.push_back(
      {"all s", [](const EvalSummary& row) { return fmt::format("{:.2f}", row.seconds); }});
  return columns;
}

std::string TitleOf(const EvalSummary& row) {
  std::string title =
      fmt::format("{}, {} at {} tokens", row.setting.model, EvalTaskName(row.task), row.context);
  if (row.task == EvalTask::kPerplexity) {
    title += fmt::format(", {} windows, {} targets", row.cases, row.targets);
  }
  title += ", " + row.setting.options;
  if (row.setting.decoding) title += ", as decoding";
  return title;
}

std::string MarkupTable(const Table& table) {
  std::vector<Column> columns = ColumnsOf(table[0].task);
  std::erase_if(columns, [](const Column& c) { return c.title == "by depth"; });  // see the maps
  std::string html = "<h3>" + EscapeMarkup(TitleOf(table[0])) + "</h3>\n<table><tr>";
  for (const Column& column : columns) html += "<th>" + EscapeMarkup(column.title) + "</th>";
  html += "</tr>\n";
  for (const EvalSummary& row : table) {
    html += "<tr>";
    for (const Column& column : columns) {
      html += "<td>" + EscapeMarkup(column.cell(row)) + "</td>";
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

// Up to the first parameter, with the row's number: names in full stand in the table.
std::string LabelOf(const Table& table, std::size_t index) {
  const std::string& name = table[index].setting.name;
  return fmt::format("{} {}", index + 1, name.substr(0, std::min<std::size_t>(name.find(':'), 18)));
}

std::string PerplexityChart(const Table& table) {
  LineChart chart{.title = fmt::format("{} tokens: quality against time", table[0].context),
                  .x_label = "attention's time, dense = 1",
                  .y_label = "perplexity, dense = 1",
                  .lines = {}};
  for (std::size_t i = 0; i < table.size(); ++i) {
    chart.lines.push_back({LabelOf(table, i), {{table[i].attention_share, table[i].ratio}}});
  }
  return LineChartSvg(chart);
}

std::string HeatCell(const RateAt& rate) {
  const double share = static_cast<double>(rate.correct) / static_cast<double>(rate.trials);
  return fmt::format("<td class=\"heat\" style=\"background:hsl({:.0f},60%,72%)\">{}/{}</td>",
                     share * 120, rate.correct, rate.trials);
}

// One heat map for each setting, depth by context.
std::string HeatMaps(const std::vector<Table>& tables) {
  std::map<std::int64_t, std::map<std::int64_t, const EvalSummary*>> by_setting;  // and context
  std::set<double> depths;
  for (const Table& table : tables) {
    for (const EvalSummary& row : table) {
      by_setting[row.setting.id][row.context] = &row;
      for (const auto& [depth, rate] : row.depths) depths.insert(depth);
    }
  }
  std::string html = "<div class=\"maps\">\n";
  for (const auto& [id, contexts] : by_setting) {
    const StoredSetting& setting = contexts.begin()->second->setting;
    html += "<table class=\"map\"><caption>" + EscapeMarkup(setting.name) +
            (setting.decoding ? ", as decoding" : "") + "</caption>\n<tr><th>depth</th>";
    for (const auto& [context, row] : contexts) html += fmt::format("<th>{}</th>", context);
    html += "</tr>\n";
    for (const double depth : depths) {
      html += fmt::format("<tr><th>{:g}</th>", depth);
      for (const auto& [context, row] : contexts) {
        const auto rate = row->depths.find(depth);
        html += rate == row->depths.end() ? "<td class=\"heat\"></td>" : HeatCell(rate->second);
      }
      html += "</tr>\n";
    }
    html += "</table>\n";
  }
  return html + "</div>\n";
}

std::string MadeOn(const std::vector<std::string>& machines) {
  return fmt::format("Measured on: {}.", fmt::join(machines, "; "));
}

constexpr const char* kStyle = R"(
body { font: 15px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-size: 13px }
th, td { border: 1px solid #ddd; padding: .2rem .5rem; text-align: right; vertical-align: top }
th { background: #f4f4f4; text-align: center }
td:first-child { text-align: left; max-width: 24rem; overflow-wrap: anywhere }
.wide { overflow-x: auto }
.maps { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start }
caption { text-align: left; font-size: 12px; max-width: 18rem; overflow-wrap: anywhere }
td.heat { text-align: center; min-width: 3.5rem }
svg { max-width: 100%; height: auto })";

constexpr const char* kLegend = R"(<p>Density: attended over causal pairs in layers without a window
of their own. Ratio: of perplexities, on the same targets, with its 95 % interval (bootstrap over
blocks of 64 targets). KL: mean divergence from the baseline, in nats; same top: targets whose
likeliest token is the baseline's. Rates have Wilson's 95 % interval; p: McNemar's exact test against
the baseline, with Holm's correction. Times are means of a case: attention (in those layers, choosing
of keys included), choosing alone, and everything; share: of the baseline's time in attention. As
decoding: what is scored was evaluated token by token.</p>
)";

}  // namespace

OrderedJson SummaryJson(const std::vector<EvalSummary>& summaries) {
  OrderedJson rows = OrderedJson::array();
  for (const EvalSummary& row : summaries) {
    OrderedJson object = {{"model", row.setting.model},
                          {"task", std::string(EvalTaskName(row.task))},
                          {"context", row.context},
                          {"attention", row.setting.name},
                          {"options", row.setting.options},
                          {"decoding", row.setting.decoding},
                          {"cases", row.cases},
                          {"density", row.density},
                          {"seconds", row.seconds},
                          {"attention_seconds", row.attention_seconds},
                          {"selection_seconds", row.selection_seconds},
                          {"attention_share", row.attention_share}};
    if (row.task == EvalTask::kPerplexity) {
      object["targets"] = row.targets;
      object["perplexity"] = row.perplexity;
      object["ratio"] = row.ratio;
      object["ratio_range"] = {row.ratio_range.low, row.ratio_range.high};
      object["divergence"] = row.divergence;
      object["agreement"] = row.agreement;
    } else {
      object["correct"] = row.rate.correct;
      object["trials"] = row.rate.trials;
      object["rate_range"] = {row.rate_range.low, row.rate_range.high};
      object["p_value"] = row.p_value;
      for (const auto& [depth, rate] : row.depths) {
        object["depths"].push_back(
            {{"depth", depth}, {"correct", rate.correct}, {"trials", rate.trials}});
      }
    }
    rows.push_back(std::move(object));
  }
  return rows;
}

std::string SummaryText(const std::vector<EvalSummary>& summaries) {
  std::string text;
  for (const Table& table : Tables(summaries)) {
    const std::vector<Column> columns = ColumnsOf(table[0].task);
    text += (text.empty() ? "" : "\n") + TitleOf(table[0]) + "\n";
    std::vector<std::size_t> widths;
    for (const Column& column : columns) {
      std::size_t width = column.title.size();
      for (const EvalSummary& row : table) width = std::max(width, column.cell(row).size());
      widths.push_back(width);
    }
    const auto line = [&](const std::function<std::string(const Column&)>& cell) {
      for (std::size_t i = 0; i < widths.size(); ++i) {
        text += i == 0 ? fmt::format("{:<{}}", cell(columns[i]), widths[i])
                       : fmt::format("  {:>{}}", cell(columns[i]), widths[i]);
      }
      text += "\n";
    };
    line([](const Column& column) { return column.title; });
    for (const EvalSummary& row : table) {
      line([&](const Column& column) { return column.cell(row); });
    }
  }
  return text;
}

std::string SummaryMarkdown(const std::vector<EvalSummary>& summaries,
                            const std::vector<std::string>& machines) {
  std::string text = MadeOn(machines) + "\n";
  for (const Table& table : Tables(summaries)) {
    const std::vector<Column> columns = ColumnsOf(table[0].task);
    text += "\n" + TitleOf(table[0]) + ":\n\n";
    std::string titles = "|", rule = "|";
    for (const Column& column : columns) {
      titles += " " + column.title + " |";
      rule += column.title == "attention" ? "---|" : "---:|";
    }
    text += titles + "\n" + rule + "\n";
    for (const EvalSummary& row : table) {
      text += "|";
      for (const Column& column : columns) {
        const std::string cell = column.cell(row);
        text += column.title == "attention" ? " `" + cell + "` |" : " " + cell + " |";
      }
      text += "\n";
    }
  }
  return text;
}

std::string SummaryPage(const std::vector<EvalSummary>& summaries,
                        const std::vector<std::string>& machines, const std::string& title) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
      EscapeMarkup(title) + "</title><style>" + kStyle + "</style></head>\n<body>\n<h1>" +
      EscapeMarkup(title) + "</h1>\n<p>" + EscapeMarkup(MadeOn(machines)) + "</p>\n" + kLegend;
  const std::vector<Table> tables = Tables(summaries);
  for (auto first = tables.begin(); first != tables.end();) {
    const EvalSummary& any = first->front();
    const auto last = std::find_if_not(first, tables.end(), [&](const Table& table) {
      return table[0].setting.model == any.setting.model && table[0].task == any.task;
    });
    html += "<h2>" + EscapeMarkup(any.setting.model) + ": " + std::string(EvalTaskName(any.task)) +
            "</h2>\n";
    for (auto table = first; table != last; ++table) {
      html += "<div class=\"wide\">\n" + MarkupTable(*table) + "</div>\n";
      if (any.task == EvalTask::kPerplexity) html += PerplexityChart(*table);
    }
    if (any.task != EvalTask::kPerplexity) html += HeatMaps({first, last});
    first = last;
  }
  return html + "</body></html>\n";
}

}  // namespace foveate::cli
