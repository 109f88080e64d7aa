// A progress line on standard error, shown only on a terminal and only for work that takes longer
// than a moment. It wipes itself when it goes out of scope.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace foveate::cli {

class ProgressBar {
 public:
  explicit ProgressBar(std::string title);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `share` from 0 to 1, negative for unknown; `detail` stands behind the bar.
  void Update(double share, const std::string& detail = {});
  void Clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::string title_;
  bool on_terminal_;
  bool shown_ = false;
  Clock::time_point started_;
  Clock::time_point drawn_;
};

// "1.2 MB", "98.4 MB", "512 B"
std::string HumanBytes(double bytes);

}  // namespace foveate::cli
