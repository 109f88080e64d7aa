// The thread between a long fetch and the person who waits for it: progress out, cancellation in.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/throw.h"

namespace foveate {

struct PullProgress {
  std::int64_t bytes_done = 0;
  std::int64_t bytes_total = -1;  // -1: not known
  std::string phase;              // "downloading", "unpacking", "verifying", "waiting ..."
};

using ProgressCallback = std::function<void(const PullProgress&)>;

class PullMonitor {
 public:
  // Both may be empty; `cancel` must outlive the monitor.
  PullMonitor(ProgressCallback callback, const std::atomic<bool>* cancel)
      : callback_(std::move(callback)), cancel_(cancel) {}

  // Called often (at least every 100 ms) by whatever works: hands the state on, at most every 50 ms
  // unless the phase changes or ends. Throws Error(kCancelled) once the cancel flag is set.
  void Report(const PullProgress& progress) {
    CheckCancelled();
    const auto now = std::chrono::steady_clock::now();
    const bool finished = progress.bytes_done == progress.bytes_total;
    if (!callback_ ||
        (progress.phase == phase_ && !finished && now - last_ < std::chrono::milliseconds(50))) {
      return;
    }
    phase_ = progress.phase;
    last_ = now;
    callback_(progress);
  }

  void CheckCancelled() const {
    if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) {
      Throw(ErrorCode::kCancelled, "the download was stopped");
    }
  }

 private:
  ProgressCallback callback_;
  const std::atomic<bool>* cancel_;
  std::chrono::steady_clock::time_point last_{};
  std::string phase_;
};

}  // namespace foveate
