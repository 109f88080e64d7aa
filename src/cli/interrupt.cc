#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include "base/throw.h"

namespace foveate::cli {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // safe in a signal handler

void OnInterrupt(int) {
  if (interrupted.exchange(true)) _exit(130);
}

}  // namespace

void CatchInterrupts() {
  struct sigaction action{};
  action.sa_handler = OnInterrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a closed pipe shows as a failed write
}

std::atomic<bool>& Interrupted() { return interrupted; }

void ThrowIfInterrupted() {
  if (interrupted) Throw(ErrorCode::kCancelled, "interrupted");
}

}  // namespace foveate::cli
