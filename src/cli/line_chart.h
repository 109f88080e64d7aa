// Line charts as SVG.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace foveate::cli {

struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x rising; y > 0
};

struct LineChart {
  std::string title, x_label, y_label;
  std::vector<ChartLine> lines;
};

// Writes `path`, which ends in .svg; y on a logarithmic scale, for ratios. Throws
// Error(kInvalidArgument or kIo).
void WriteLineChart(const std::string& path, const LineChart& chart);

}  // namespace foveate::cli
