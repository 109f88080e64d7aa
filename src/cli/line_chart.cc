#include "cli/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/throw.h"
#include "cli/output.h"

namespace foveate::cli {
namespace {

// Pixels.
constexpr double kWidth = 720, kHeight = 440;
constexpr double kLeft = 70, kRight = 190, kTop = 40, kBottom = 55;

constexpr const char* kColours[] = {"#1f4e79", "#c0504d", "#4f8f3a", "#8064a2", "#d08a1d",
                                    "#2a9d9d", "#a03070", "#7a6a40", "#555555", "#6f9fd8"};

class Scale {
 public:
  explicit Scale(const LineChart& chart) {
    for (const ChartLine& line : chart.lines) {
      for (const auto& [x, y] : line.points) {
        most_x_ = std::max(most_x_, x);
        most_y_ = std::max(most_y_, y);
        least_y_ = std::min(least_y_, y);
      }
    }
  }
  double X(double x) const { return kLeft + x / most_x_ * (kWidth - kLeft - kRight); }
  double Y(double y) const {
    const double share = std::log(y / least_y_) / std::log(most_y_ / least_y_);
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
  double most_x() const { return most_x_; }

  // 1, 2, 5, 10 and so on within the chart; in a narrow one, even steps.
  std::vector<double> Ticks() const {
    std::vector<double> ticks;
    if (most_y_ < 2 * least_y_) {
      const double decade = std::pow(10.0, std::floor(std::log10(most_y_ - least_y_)));
      const double step = most_y_ - least_y_ < 3 * decade ? decade / 2 : decade;
      for (double i = std::ceil(least_y_ / step); i * step <= most_y_; ++i) {
        ticks.push_back(i * step);
      }
      return ticks;
    }
    for (int decade = -3; decade < 7; ++decade) {
      for (const double digit : {1, 2, 5}) {
        const double tick = digit * std::pow(10.0, decade);
        if (least_y_ <= tick * 1.0001 && tick <= most_y_ * 1.0001) ticks.push_back(tick);
      }
    }
    return ticks;
  }

 private:
  double most_x_ = 0;
  double least_y_ = 1;
  double most_y_ = 1.01;
};

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     EscapeMarkup(text));
}

std::string Axes(const LineChart& chart, const Scale& scale) {
  std::string svg;
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (const double y : scale.Ticks()) {
    svg += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"#ddd\"/>\n", kLeft, scale.Y(y),
                       right);
    svg += Text(kLeft - 6, scale.Y(y) + 4, "end", fmt::format("{:g}", y));
  }
  for (int i = 0; i <= 5; ++i) {
    const double x = scale.most_x() * i / 5;
    svg += Text(scale.X(x), bottom + 18, "middle", fmt::format("{:g}", x));
  }
  svg += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\" fill=\"none\" stroke=\"#333\"/>\n",
                     kLeft, kTop, bottom, right);
  svg += Text((kLeft + right) / 2, kHeight - 14, "middle", chart.x_label);
  svg += fmt::format(
      "<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      (kTop + bottom) / 2, EscapeMarkup(chart.y_label));
  return svg + Text((kLeft + right) / 2, 22, "middle", chart.title);
}

std::string Line(const ChartLine& line, std::size_t index, const Scale& scale) {
  const char* colour = kColours[index % std::size(kColours)];
  std::string path;
  for (const auto& [x, y] : line.points) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", scale.X(x), scale.Y(y));
  }
  const double y = kTop + 14 + 20 * static_cast<double>(index), x = kWidth - kRight + 14;
  if (line.points.size() == 1) {
    const auto dot = [&](double at_x, double at_y) {
      return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n", at_x, at_y,
                         colour);
    };
    const auto& [point_x, point_y] = line.points[0];
    return dot(scale.X(point_x), scale.Y(point_y)) + dot(x + 9, y - 4) +
           Text(x + 24, y, "start", line.name);
  }
  return fmt::format(
             "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n"
             "<path d=\"M{:.1f} {:.1f}h18\" stroke=\"{}\" stroke-width=\"2\"/>\n",
             path, colour, x, y - 4, colour) +
         Text(x + 24, y, "start", line.name);
}

}  // namespace

std::string LineChartSvg(const LineChart& chart) {
  const Scale scale(chart);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += Axes(chart, scale);
  for (std::size_t i = 0; i < chart.lines.size(); ++i) svg += Line(chart.lines[i], i, scale);
  return svg + "</svg>\n";
}

void WriteLineChart(const std::string& path, const LineChart& chart) {
  if (!path.ends_with(".svg")) {
    Throw(ErrorCode::kInvalidArgument, "{}: expected a name that ends in .svg", path);
  }
  WriteFile(path, LineChartSvg(chart));
}

std::string EscapeMarkup(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '&': escaped += "&amp;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace foveate::cli
