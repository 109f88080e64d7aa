#include "base/thread_pool.h"

#include <sched.h>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr int kSpins = 20000;  // of about 30 ns: longer than the serial parts of a forward pass

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int AllowedCpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads < 1 || threads > 1024) {
    Throw(ErrorCode::kInvalidArgument, "threads must be between 1 and 1024, got {}", threads);
  }
  spins_ = threads <= AllowedCpus() ? kSpins : 0;
  threads_.reserve(threads - 1);
  for (int worker = 1; worker < threads; ++worker) {
    threads_.emplace_back([this, worker] { WorkerLoop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Fork(Function function, void* data) {
  function_ = function;
  data_ = data;
  inside_.store(0, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  function(data, 0);
  inside_.fetch_or(kClosed, std::memory_order_relaxed);
  for (std::uint32_t now; (now = inside_.load(std::memory_order_acquire)) != kClosed;) {
    WaitWhile(inside_, now);
  }
}

void ThreadPool::WorkerLoop(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    WaitWhile(epoch_, seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (stop_) return;
    if (!Enter()) continue;
    function_(data_, worker);
    if (inside_.fetch_sub(1, std::memory_order_acq_rel) == kClosed + 1) inside_.notify_one();
  }
}

bool ThreadPool::Enter() {
  std::uint32_t now = inside_.load(std::memory_order_relaxed);
  while ((now & kClosed) == 0) {
    if (inside_.compare_exchange_weak(now, now + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadPool::WaitWhile(const std::atomic<std::uint32_t>& word, std::uint32_t old) const {
  for (int spin = 0; spin < spins_; ++spin) {
    if (word.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  word.wait(old, std::memory_order_acquire);
}

}  // namespace foveate
