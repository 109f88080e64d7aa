#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace foveate::cli {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(300);  // shorter work shows nothing
constexpr auto kRedraw = std::chrono::milliseconds(80);
constexpr int kWidth = 30;

std::string Bar(double share) {
  if (share < 0) return {};
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * kWidth);
  return fmt::format(" [{:=<{}}{: <{}}] {:3.0f}%", "", filled, "", kWidth - filled, share * 100);
}

}  // namespace

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)), on_terminal_(isatty(STDERR_FILENO)), started_(Clock::now()) {}

ProgressBar::~ProgressBar() { Clear(); }

void ProgressBar::Update(double share, const std::string& detail) {
  const Clock::time_point now = Clock::now();
  if (!on_terminal_ || now - started_ < kPatience || now - drawn_ < kRedraw) return;
  drawn_ = now;
  shown_ = true;
  fmt::print(stderr, "\r\033[K{}{} {}", title_, Bar(share), detail);
  std::fflush(stderr);
}

void ProgressBar::Clear() {
  if (!shown_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

std::string HumanBytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

}  // namespace foveate::cli
