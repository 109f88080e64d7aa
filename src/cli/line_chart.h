// Line charts as SVG.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace foveate::cli {

struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x rising; y > 0. A single one is a dot
};

struct LineChart {
  std::string title, x_label, y_label;
  std::vector<ChartLine> lines;
};

// The chart as an <svg> element; y on a logarithmic scale, for ratios.
std::string LineChartSvg(const LineChart& chart);

// Writes it to `path`, which ends in .svg. Throws Error(kInvalidArgument or kIo).
void WriteLineChart(const std::string& path, const LineChart& chart);

// `text` where XML or HTML expects text or an attribute.
std::string EscapeMarkup(std::string_view text);

}  // namespace foveate::cli
